"""PolyCom's activation, and the networks with it."""
