"""Secrets of a workspace: their bounds, their file on the host, and redacting them from a guest's output.

No value is written to a record, a message or any file other than the workspace's secrets file.

    redactor = redactor_for(paths, workspace)       # keeping
    stream = redactor.stream()                      # one for each stream of bytes that a guest writes
    passed_on = stream.feed(data)                   # as often as data comes: what may be shown by now
    passed_on = stream.finish()                     # once, at the end
    redactor.text(message)                          # for a text that is whole
"""
