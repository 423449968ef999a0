"""What `pretrial new` copies: a small method of each kind that trains, with its trial and its test.

They are methods like any other, laid out like a folder of one's own. The copy gets its slug and the
name of its class from the command.
"""
