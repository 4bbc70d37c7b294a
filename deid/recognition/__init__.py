"""Face recognition: telling whether two pictures show one person.

Used to merge tracks into people, to attack what the redaction leaves, and to audit the output. ``dlib_net`` imports
torch, which takes a second: import it only where it is needed.
"""
