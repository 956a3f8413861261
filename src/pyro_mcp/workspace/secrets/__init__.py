"""Secrets of a workspace: what they may be, where the host keeps them, and how they are kept out of what guests print.

Owns all that the host does with their values. Refuses to let one into a record, a message or another file than the
workspace's own.

    redactor = redactor_for(paths, workspace)       # keeping
    stream = redactor.stream()                      # one for each stream of bytes that a guest writes
    passed_on = stream.feed(data)                   # as often as data comes: what may be shown by now
    passed_on = stream.finish()                     # once, at the end
    redactor.text(message)                          # for a text that is whole
"""
