"""What CodeRL reads and keeps: the text of a problem (`prompt`), programs tried (`samples`)."""
