"""The lab's memory: what a record is made from, which code made it, and whether it is still true of today's
code.
"""
