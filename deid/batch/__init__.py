"""Many files: what is to be done, what has been done, and who does it.

* :mod:`deid.batch.files`: which files, and where their copies go.
* :mod:`deid.batch.ledger`: what is known of each, in one SQLite file that survives a kill at any moment.
* :mod:`deid.batch.worker`, :mod:`deid.batch.pool`: a process for each file.
* :mod:`deid.batch.people`: one face for one person in all files of a batch or of a key.
* :mod:`deid.batch.runner`: the whole, from what is there to what is told.
* :mod:`deid.batch.board`, :mod:`deid.batch.pages`: the table on a terminal, and the pages of ``--report``.
"""
