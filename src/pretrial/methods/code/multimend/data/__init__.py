"""What MultiMend reads: `fixes` to learn from, `bugs` to repair, and the `hunks` of both."""
