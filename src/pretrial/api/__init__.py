"""What the commands do, as functions: the command line and Python call the same ones."""
