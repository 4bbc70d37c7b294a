"""Live and piped: frames leave a fixed time after they came in, with every face replaced or obscured.

* :mod:`.sources`, :mod:`.capture`: pipes, files, cameras and addresses as frames, and what happens where they are
  faster than the work.
* :mod:`.window`: which faces are where in the frames that are at hand, and which of these are ready to leave.
* :mod:`.leaving`: frames are finished, checked, put right and handed on, before anybody sees them.
* :mod:`.sinks`: files, pipes and addresses that frames go to.
* :mod:`.run`: one stream, from its beginning to its end.

The engine's part is in :mod:`deid.models.morphable.live`.
"""
