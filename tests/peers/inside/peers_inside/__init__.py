"""What runs inside another project's test suite: drainkit around what that tests, and a record.

Rule: without a place nothing of drainkit is imported, and without a place and a body nothing of the
other project is touched. Its frameworks are imported by the module ``around_...`` of each, only.
"""
