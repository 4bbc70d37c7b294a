"""From searched key frames to tracklets: follow forward, associate, correct drift, follow new faces back in time.

Nothing here is causal. A face that is first detected in frame 40 is followed back to where it came from; a face that
flow lost between two searches is followed back from the later one; what neither reaches is interpolated. The scheme is
the usual tracking-by-detection with low-score recovery (Zhang et al., ByteTrack, ECCV 2022, section 3), with flow in
the place of a motion model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain

import numpy as np

from deid.tracking import boxes, flow
from deid.tracking.associate import affinity, assign, is_another, mean_chroma
from deid.tracking.examine import Examiner, row_of
from deid.tracking.observe import Observer
from deid.tracking.scan import Chunk, View
from deid.tracking.tracklet import Row, Tracklet
from deid.types import Evidence

_STEP_QUALITY = 0.45  # share of points that must agree before flow alone is believed
_STEP_LIKENESS = 0.55  # correlation of a face with itself one frame later; below it something came between
_STILL_LIKE = 0.15  # and with itself when it was last seen for sure; below it flow has slid onto something else
_BLIND_SEARCHES = 2  # searches in a row that may miss a face which flow still follows
_ESTABLISHED = 5  # sightings from which a confirmed face is not given up without a second detector's opinion
_DUPLICATE = 0.55  # overlap from which two tracks are one face
_INSIDE = 0.4  # of the smaller box that lies in the other, from which a second look has found a face that a search saw
_SURE = 0.5  # score below which a search may have found something beside the face
_HIDDEN = 0.33  # of a face that lies in one that was just found, from which that one is before it
_CARRIED = 0.6  # and from which flow has slid onto it
_MESH_HEIGHT = 24.0
_CONFIRM_HEIGHT = 40.0  # the mesh finds "faces" in any smaller texture that is symmetric
_COARSE_HEIGHT = 40.0  # searched pixels below which a search at reduced resolution says nothing by its silence
MEMORY, _MEMORY_BYTES = 30, 128 << 20  # frames that new faces can be followed back, and what those may take


class Tracker:
    """Feed chunks in order, then call :meth:`finish`. ``threshold``: detector score from which a face is born.
    ``observer``: shown every face of every frame, once, as soon as the search at the end of its chunk has put it right:
    later ones add faces, but hardly move those that are known."""

    def __init__(self, examiner: Examiner, *, threshold: float, observer: Observer | None = None) -> None:
        self._examiner = examiner
        self._observer = observer
        self._threshold = threshold
        self._active: list[Tracklet] = []
        self._ended: list[Tracklet] = []
        self._done: list[Tracklet] = []
        self._memory: deque[View] = deque()
        self._shown: dict[int, set[int]] = {}
        self._shot = -1

    def feed(self, chunk: Chunk) -> None:
        """Advance by one chunk of frames."""
        if chunk.cut:
            self._end_shot()
        new = chunk.views if chunk.cut else chunk.views[1:]
        for tracklet in self._active:
            self._forward(tracklet, chunk.views)
        self._key(chunk.views)
        self._memory.extend(new)
        self._show()
        size = sum(plane.nbytes for plane in new[-1].frame.planes) if new else 1
        while len(self._memory) > min(MEMORY, max(6, _MEMORY_BYTES // size)):
            self._shown.pop(self._memory.popleft().index, None)
        oldest = self._memory[0].index  # nobody follows a face further back, so nobody asks what was there
        self._done += [t for t in self._ended if t.last < oldest]
        self._ended = [t for t in self._ended if t.last >= oldest]

    def finish(self) -> list[Tracklet]:
        """All tracklets of the clip, those of one lonely frame included."""
        self._end_shot()
        return sorted(self._done, key=lambda t: (t.shot, t.first, float(t.rows[t.first].box[0])))

    def tracklets(self) -> Iterator[Tracklet]:
        """All that there are so far, in no order. Those of ended shots and long-lost faces stay as they are; the others
        may change in the last ``MEMORY`` frames, and be given new ones. Read only."""
        return chain(self._done, self._ended, self._active)

    def forget(self, before: int) -> None:
        """Let go of what lies before this frame, so that memory does not grow: what ended there, and rows."""
        self._done = [t for t in self._done if t.last >= before]
        for tracklet in self.tracklets():
            tracklet.forget(before)

    def _show(self) -> None:
        """The observer gets those faces of the frames at hand that it has not seen."""
        if self._observer is None:
            return
        known = [t for t in (*self._active, *self._ended) if t.confirmed]
        for view in self._memory:
            shown = self._shown.setdefault(view.index, set())
            new = [(t, row) for t in known if id(t) not in shown and (row := t.rows.get(view.index)) is not None]
            if new:
                self._observer.see(view, new)
                shown.update(id(t) for t, _ in new)

    def _end_shot(self) -> None:
        self._show()
        self._shown.clear()
        self._done += self._active + self._ended
        self._active, self._ended = [], []
        self._memory.clear()
        self._shot += 1

    # -- following -----------------------------------------------------------------------------------------------

    def _forward(self, tracklet: Tracklet, views: list[View]) -> None:
        tracklet.lost_at = None
        if views[0].index not in tracklet.rows:
            tracklet.lost_at = views[0].index
            return
        self._follow(tracklet, views)

    def _follow(self, tracklet: Tracklet, views: list[View], *, backward: bool = False) -> None:
        """Carry the face through ``views``, whose first holds a row, until the evidence ends; sets ``lost_at``."""
        box = tracklet.rows[views[0].index].box
        likeness = flow.template(views[0].luma, box)
        seen = likeness
        if tracklet.rows[views[0].index].evidence == Evidence.FLOW and tracklet.template is not None:
            seen = tracklet.template
        shift, blind = np.zeros(2), 0
        if not backward:
            shift = tracklet.velocity(views[0].index)
        for before, after in zip(views, views[1:], strict=False):
            step = flow.follow(before.luma, after.luma, box, shift)
            row: Row | None = None
            if step is not None and step.quality >= _STEP_QUALITY:
                now = flow.template(after.luma, step.box)
                alike = flow.similarity(now, likeness) >= _STEP_LIKENESS
                if alike and flow.similarity(now, seen) >= _STILL_LIKE:
                    row, likeness = Row(step.box, Evidence.FLOW, 0.5 + 0.5 * step.quality), now
            if row is None:
                guess = box.copy()
                guess[:2] += shift
                row = self._examiner.doubt(after, guess)
                if row is None or self._taken(tracklet, after.index, row.box):
                    tracklet.lost_at = after.index
                    return
                seen = likeness = flow.template(after.luma, row.box)
            if self._outside(row.box, after):
                tracklet.lost_at = after.index
                return
            if backward:
                if self._taken(tracklet, after.index, row.box):
                    return
                if after.found is not None and row.evidence == Evidence.FLOW:
                    row, blind = self._look_again(after, row, blind)
                    if blind > _BLIND_SEARCHES:
                        return
                    likeness = flow.template(after.luma, row.box)
                    if row.evidence != Evidence.FLOW:
                        seen = likeness
            shift = 0.5 * shift + 0.5 * (row.box[:2] - box[:2]).astype(np.float64)
            box = row.box
            tracklet.put(after.index, row)

    def _look_again(self, view: View, row: Row, blind: int) -> tuple[Row, int]:
        """Going back through a frame that was searched: what did the search say here? Its silence counts as a miss."""
        assert view.found is not None
        near = [r for r in map(row_of, view.found.result()) if boxes.iou(r.box, row.box)[0, 0] > 0.35]
        if near:
            return max(near, key=lambda r: r.score), 0
        if view.scale < 1.0 and row.box[3] * view.scale < _COARSE_HEIGHT:
            return row, blind
        seen = self._examiner.doubt(view, row.box)
        return (row, blind + 1) if seen is None else (seen, 0)

    @staticmethod
    def _outside(box: np.ndarray, view: View) -> bool:
        return boxes.visible_share(box, view.frame.width, view.frame.height) < 0.15

    def _taken(self, tracklet: Tracklet, frame: int, box: np.ndarray) -> bool:
        """Whether another face is already known at this place: one that a search found there just now, or any that
        lies there all over."""
        for other in (*self._active, *self._ended):
            if other is tracklet:
                continue
            row = other.rows.get(frame)
            if row is None or abs(row.box[0] - box[0]) > box[2] or abs(row.box[1] - box[1]) > box[3]:
                continue
            searched = row.evidence == Evidence.SEARCHED
            if boxes.iou(row.box, box)[0, 0] > _DUPLICATE or (searched and boxes.shared(row.box, box) > _INSIDE):
                return True
        return False

    # -- key frames ----------------------------------------------------------------------------------------------

    def _key(self, views: list[View]) -> None:
        key = views[-1]
        if key.found is None:
            return
        rows = [row_of(d) for d in key.found.result()]
        pairs = self._associate(key, rows)
        matched = {t for t, _ in pairs}
        measured = {r for _, r in pairs}
        others = [row for r, row in enumerate(rows) if r not in measured]
        for t, r in pairs:
            tracklet = self._active[t]
            known = tracklet.rows.get(key.index)
            if not (known is not None and tracklet.confirmed and self._agrees(key, known, rows[r])):
                rows[r] = self._holding(self._measure(key, rows[r], tracklet), rows[r], others)
            self._match(tracklet, rows[r], views)
        for i, tracklet in enumerate(list(self._active)):
            if i not in matched:
                self._missed(tracklet, views)
        self._drop_duplicates(key.index)
        for r, row in enumerate(rows):
            if r not in measured and row.score >= self._threshold:
                self._born(row, others, views)

    def _associate(self, key: View, rows: list[Row]) -> list[tuple[int, int]]:
        table = np.full((len(self._active), len(rows)), -1.0)
        if table.size == 0:
            return []
        measured = np.stack([r.box for r in rows])
        looks = [(flow.template(key.luma, r.box), self._tint(key, r.box)) for r in rows]
        for i, tracklet in enumerate(self._active):
            predicted = tracklet.predict(key.index)
            unseen = max(0, key.index - tracklet.last)
            near = np.abs(measured[:, :2] - predicted[:2]).max(1) < 2 * np.maximum(measured[:, 3], predicted[3])
            for j in np.flatnonzero(near):
                row = rows[j]
                template, tint = looks[j]
                likeness = 1.0 if tracklet.template is None else flow.similarity(template, tracklet.template)
                apart = 0.0 if tracklet.tint is None else float(np.hypot(*(tint - tracklet.tint)))
                table[i, j] = affinity(predicted, row.box, unseen, likeness, apart)
        return assign(table)

    @staticmethod
    def _tint(view: View, box: np.ndarray) -> np.ndarray:
        form = view.frame.format
        return mean_chroma(view.frame.planes, form.chroma_shift, form.depth, box)

    def _measure(self, key: View, row: Row, tracklet: Tracklet) -> Row:
        """A detection joined with the landmark model's view of the same face: the larger size, the mesh's angles."""
        if row.box[3] < _MESH_HEIGHT:
            return row
        mesh = self._examiner.mesh(key, row.box)
        if mesh is None:
            return row
        tracklet.confirmed |= bool(mesh.box[3] >= _CONFIRM_HEIGHT)
        box = row.box.copy()
        box[:2] = (row.box[:2] + mesh.box[:2]) / 2
        box[2:4] = np.maximum(row.box[2:4], mesh.box[2:4])
        if abs(boxes.wrap(mesh.box[4])) > 0.5:  # an upright box around a head on its side says little about its size
            box[2:4] = mesh.box[2:4]
        box[4] = mesh.box[4]
        return Row(box, Evidence.SEARCHED, max(row.score, mesh.score), mesh.yaw)

    @staticmethod
    def _holding(row: Row, found: Row, others: list[Row]) -> Row:
        """``row``, made of what was ``found``, with what else was found over it, where nothing is sure: of a face that
        is turned away or half hidden a search sees two, one of them beside it."""
        if found.score >= _SURE:
            return row
        near = [o.box for o in others if o is not found and boxes.shared(o.box, found.box) > _INSIDE]
        if not near:
            return row
        every = boxes.corners(np.stack([row.box, *near]))
        held = np.concatenate([every[:, :2].min(0), every[:, 2:].max(0)])
        return Row(boxes.from_corners(held, float(row.box[4])), row.evidence, row.score, row.yaw)

    @staticmethod
    def _agrees(key: View, followed: Row, found: Row) -> bool:
        """A search at reduced resolution that lands where flow is confirms it; flow's box is the finer one then."""
        apart = boxes.distance(followed.box, found.box)
        return key.scale < 1.0 and apart < 0.15 and boxes.size_ratio(followed.box, found.box) < 1.2

    def _remember(self, tracklet: Tracklet, key: View, row: Row) -> None:
        tracklet.set(key.index, row)
        tracklet.looks(flow.template(key.luma, row.box))
        tint = self._tint(key, row.box)
        tracklet.tint = tint if tracklet.tint is None else 0.7 * tracklet.tint + 0.3 * tint
        tracklet.misses = 0

    def _match(self, tracklet: Tracklet, measured: Row, views: list[View]) -> None:
        key = views[-1]
        drifted = tracklet.rows.get(key.index)
        if drifted is not None and tracklet.confirmed and self._agrees(key, drifted, measured):
            measured = Row(drifted.box, Evidence.SEARCHED, measured.score)
        self._remember(tracklet, key, measured)
        if tracklet.lost_at is None and drifted is not None:
            self._spread(tracklet, views, drifted.box, measured.box)
            return
        back = self._back(views)
        known = next((i for i, v in enumerate(back) if i and v.index in tracklet.rows), len(back))
        self._follow(tracklet, back[:known], backward=True)
        tracklet.lost_at = None

    def _back(self, views: list[View]) -> list[View]:
        """The frames at hand from the last of ``views`` back into the past, latest first."""
        past = {v.index: v for v in (*self._memory, *views)}
        return [past[i] for i in sorted(past, reverse=True)]

    @staticmethod
    def _spread(tracklet: Tracklet, views: list[View], drifted: np.ndarray, measured: np.ndarray) -> None:
        """Share out over the chunk what flow was found to be wrong by at its end."""
        begin = views[0].index
        span = max(1, views[-1].index - begin)
        for view in views[1:-1]:
            row = tracklet.rows.get(view.index)
            if row is not None:
                weight = (view.index - begin) / span
                box = boxes.correct(row.box, drifted, measured, weight)
                tracklet.set(view.index, Row(box, row.evidence, row.score, row.yaw))

    def _missed(self, tracklet: Tracklet, views: list[View]) -> None:
        """No detection fits: look closer, then allow flow a little time, then give the face up."""
        key = views[-1]
        box = tracklet.predict(key.index)
        followed = tracklet.lost_at is None and key.index in tracklet.rows
        coarse = key.scale < 1.0 and box[3] * key.scale < _COARSE_HEIGHT
        before = self._before(tracklet, key.index, box) if followed else None
        if followed and coarse and before is None:
            return  # too small for a search at half resolution: its silence says nothing
        tracklet.misses += 1
        last_word = tracklet.misses > _BLIND_SEARCHES and tracklet.confirmed and tracklet.searched >= _ESTABLISHED
        inside = boxes.visible_share(box, key.frame.width, key.frame.height) > 0.3
        row = self._examiner.doubt(key, box, last_word=last_word) if inside else None
        taken = row is not None and self._taken(tracklet, key.index, row.box)
        if row is not None and not taken and self._is_still(tracklet, key, box, row):
            self._match(tracklet, row, views)
            return
        if tracklet.misses > _BLIND_SEARCHES or before is not None or not (followed or inside):
            self._active.remove(tracklet)
            self._ended.append(tracklet)
            if before is not None:
                self._slid(tracklet, before, key.index)

    def _before(self, tracklet: Tracklet, frame: int, box: np.ndarray) -> Tracklet | None:
        """Whose face, found just now, is a good part of where flow says that this one is: flow goes on with the one in
        front."""
        for other in self._active:
            row = other.rows.get(frame)
            if other is tracklet or row is None or row.evidence != Evidence.SEARCHED or row.score < self._threshold:
                continue
            if boxes.part_in(box, row.box) > _HIDDEN:
                return other
        return None

    @staticmethod
    def _is_still(tracklet: Tracklet, key: View, predicted: np.ndarray, row: Row) -> bool:
        """Whether the face that a second look found can be the one that was looked for."""
        if tracklet.template is None:
            return True
        likeness = flow.similarity(flow.template(key.luma, row.box), tracklet.template)
        return not is_another(float(boxes.iou(predicted, row.box)[0, 0]), likeness)

    def _drop_duplicates(self, frame: int) -> None:
        """Of two tracks that came to lie on one face keep the better established."""
        here = [t for t in self._active if frame in t.rows]
        here.sort(key=lambda t: (t.misses, -t.searched, t.first))
        kept: list[Tracklet] = []
        for tracklet in here:
            over = next((k for k in kept if self._lies_on(tracklet.rows[frame], k.rows[frame])), None)
            if over is None:
                kept.append(tracklet)
                continue
            self._active.remove(tracklet)
            self._ended.append(tracklet)
            self._slid(tracklet, over, frame)

    @staticmethod
    def _lies_on(row: Row, other: Row) -> bool:
        """Whether two tracks are on one face, or flow has carried this one onto a face that was searched and found."""
        if boxes.iou(row.box, other.box)[0, 0] > _DUPLICATE:
            return True
        carried = row.evidence == Evidence.FLOW and other.evidence == Evidence.SEARCHED
        return carried and boxes.shared(row.box, other.box) > _CARRIED

    @staticmethod
    def _slid(tracklet: Tracklet, over: Tracklet, frame: int) -> None:
        """Forget where flow carried ``tracklet`` while it lay on the face of ``over``, up to ``frame``."""
        rows = dict(tracklet.rows)
        for index in range(frame, tracklet.first, -1):
            row, other = rows.get(index), over.rows.get(index)
            if row is None or other is None or row.evidence != Evidence.FLOW:
                break
            if boxes.shared(row.box, other.box) < _INSIDE:
                break
            del rows[index]
        tracklet.keep(rows)

    def _born(self, row: Row, others: list[Row], views: list[View]) -> None:
        key = views[-1]
        tracklet = Tracklet(self._shot)
        row = self._holding(self._measure(key, row, tracklet), row, others)
        if self._taken(tracklet, key.index, row.box):
            return
        self._remember(tracklet, key, row)
        self._follow(tracklet, self._back(views), backward=True)
        tracklet.lost_at = None
        self._active.append(tracklet)
