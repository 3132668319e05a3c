"""An emulated link: TCP from end to end over packets that are late, lost, reordered and paced.

Rule: nothing here touches an interface of the machine, and nothing outlives the process that made
it. `links` says what there is, `emulated` makes one.
"""
