"""Who is in the clip: tracks merged into people by recognition over the best pictures of each track.

Two tracks that share a frame are two people. Otherwise tracks join, nearest pair first, while the average distance
between their templates stays below a threshold (average-linkage clustering with cannot-link constraints).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from deid import imaging
from deid.errors import ModelError
from deid.tracking.observe import Chip
from deid.types import Track

SAME_PERSON = 0.48
"""Mean distance of templates up to which two tracks are one person: well inside the recogniser's own threshold, because
two people who share a surrogate are worse than one person who has two."""
_LEAST_RANGE, _LEAST_FINE, _LEAST_SHARP = 15.0, 1.2, 0.045
"""What a picture must show for its code to say who it is, in 8-bit steps: the range of its tones (5th to 95th
percentile), its detail finer than three pixels, and that detail beside the range. Portraits darkened, shrunk and
blurred to these limits keep all but one pair of strangers in a thousand 0.48 and more apart; beyond them faces come to
resemble each other: in a twelfth of the light and a blur of five pixels half of all strangers are nearer than that."""
_SAME_PLACE = 0.45
_DONORS_SPREAD = 11.5  # years, standard deviation of the ages that the regression was trained on
_PEOPLE_AGE, _PEOPLE_SPREAD = 42.0, 18.0  # years: whom footage shows, mean and standard deviation
_BEST = 8  # codes of a person
_TRAITS = Path(__file__).parent / "models" / "person_traits.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Someone in the clip. ``tracks``: their ids. ``codes``: float32 (n, 128), recognition codes of the best pictures,
    best first; none when nothing shows who it is. ``female``: -1 (apparently male) to 1 (apparently female), 0 when
    unknown, NaN when it is not to matter. ``age``: apparent, in years; NaN when unknown. ``place``: when and where they
    were, in bytes: what tells those apart whom nothing recognises."""

    id: int
    tracks: tuple[int, ...]
    codes: np.ndarray
    female: float
    age: float
    place: bytes = b""

    @property
    def template(self) -> np.ndarray | None:
        """Mean code, float32 (128,)."""
        return self.codes.mean(0) if len(self.codes) else None

    @property
    def content(self) -> bytes:
        """What the person is in this clip, in bytes: never when they came in, or as whose neighbour."""
        template = self.template
        return b"place " + self.place if template is None else canonical(template)


def canonical(template: np.ndarray) -> bytes:
    """A mean code in bytes, coarse enough that the rounding errors of another machine rarely change them."""
    return np.clip(np.rint(np.asarray(template, np.float64) * 32), -127, 127).astype(np.int8).tobytes()


def chips_of(tracks: Sequence[Track], chips: Sequence[Chip]) -> dict[int, list[Chip]]:
    """Which pictures show which track, the best first."""
    out: dict[int, list[Chip]] = {track.id: [] for track in tracks}
    for chip in chips:
        owner, nearest = None, _SAME_PLACE
        for track in tracks:
            if track.covers(chip.frame):
                box = track.box_at(chip.frame)
                apart = float(np.hypot(box[0] - chip.place[0], box[1] - chip.place[1])) / max(float(box[3]), 1.0)
                if apart < nearest:
                    owner, nearest = track.id, apart
        if owner is not None:
            out[owner].append(chip)
    for found in out.values():
        found.sort(key=lambda c: (-c.quality, c.frame))
    return out


def merge(tracks: Sequence[Track], codes: dict[int, np.ndarray], threshold: float = SAME_PERSON) -> list[list[Track]]:
    """Groups of tracks, one a person, in order of first appearance. ``codes``: float32 (n, 128) by track id; tracks
    without any stay alone. Nor do two join of which one is nearer to somebody who is seen beside it, and so is surely
    somebody else: then distances say little."""
    groups = [[track] for track in sorted(tracks, key=lambda t: (t.first, t.id))]
    known = {track.id: codes[track.id].mean(0) for track in tracks if len(codes.get(track.id, ()))}
    strangers = _nearest_strangers(tracks, known)
    while True:
        best, pair = threshold, None
        for i, a in enumerate(groups):
            for j in range(i + 1, len(groups)):
                apart = _linkage(a, groups[j], known)
                if apart < min(best, *(strangers.get(t.id, best) for t in (*a, *groups[j]))):
                    best, pair = apart, (i, j)
        if pair is None:
            return groups
        i, j = pair
        groups[i] = groups[i] + groups.pop(j)


def _linkage(a: list[Track], b: list[Track], known: dict[int, np.ndarray]) -> float:
    if any(s.first <= t.last and t.first <= s.last for s in a for t in b):
        return float("inf")
    apart = [float(np.linalg.norm(known[s.id] - known[t.id])) for s in a for t in b if s.id in known and t.id in known]
    return float(np.mean(apart)) if len(apart) == len(a) * len(b) else float("inf")


def _nearest_strangers(tracks: Sequence[Track], known: dict[int, np.ndarray]) -> dict[int, float]:
    """By track, how near the most similar of those comes that share a frame with it."""
    out: dict[int, float] = {}
    for s in tracks:
        for t in tracks:
            if s.id != t.id and s.id in known and t.id in known and s.first <= t.last and t.first <= s.last:
                out[s.id] = min(out.get(s.id, np.inf), float(np.linalg.norm(known[s.id] - known[t.id])))
    return out


def readable(picture: np.ndarray) -> bool:
    """Whether a face chip, uint8 (150, 150, 3), shows enough for its code to say whose it is: neither too dark nor too
    blurred. See the limits above; measured on 132 portraits."""
    return detail(picture) > 0


def detail(picture: np.ndarray, *, sharp: bool = True) -> float:
    """How much finer than three pixels a face chip, uint8 (150, 150, 3), shows, a standard deviation in 8-bit steps;
    0 where that is too little to say whose face it is: see :func:`readable`. Without ``sharp`` only what is too dark
    counts as too little, not what is blurred."""
    luma = picture[30:120, 30:120].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    low, high = np.percentile(luma, (5, 95))
    fine = float((luma - imaging.gaussian_blur(luma, (0, 0), 3)).std())
    least = max(_LEAST_FINE, _LEAST_SHARP * float(high - low)) if sharp else _LEAST_FINE
    enough = high - low >= _LEAST_RANGE and fine >= least
    return fine if enough else 0.0


def clear_ones(chips: Mapping[int, list[Chip]]) -> dict[int, list[bool]]:
    """By track, which of its pictures are readable: their codes may say who somebody is."""
    return {track: [readable(chip.picture) for chip in shown] for track, shown in chips.items()}


def telling(codes: dict[int, np.ndarray], clear: Mapping[int, list[bool]]) -> dict[int, np.ndarray]:
    """Of recognition codes, float32 (n, 128) by track, those of :func:`clear_ones`."""
    return {track: found[clear[track]] if len(found) else found for track, found in codes.items()}


@lru_cache(maxsize=1)
def traits() -> dict[str, np.ndarray]:
    """What ``tools/train_person_traits.py`` learned. Raises :class:`ModelError` when its file is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(_TRAITS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{_TRAITS.name} is missing or damaged: reinstall deid-video") from error


def describe(codes: np.ndarray) -> tuple[float, float]:
    """Apparent gender and age from recognition codes (n, 128): see :class:`Person`. Trained by
    ``tools/train_person_traits.py``."""
    if len(codes) == 0:
        return 0.0, float("nan")
    learned = traits()
    x = np.append(codes.mean(0), 1.0)
    return float(np.tanh(x @ learned["gender"])), float(np.clip(_spread_out(float(x @ learned["age"])), 5, 95))


def _spread_out(guess: float) -> float:
    """An age in years from a guess that is drawn towards the mean age of those whom the regression was trained on: the
    posterior mean for people of all ages (Bayes' rule for two Gaussians) instead of adults in office."""
    learned = traits()
    if "age_shrinkage" not in learned:
        return guess
    mean, slope = (float(v) for v in learned["age_shrinkage"])
    noise = _DONORS_SPREAD**2 * (1 - slope) / slope
    share = _PEOPLE_SPREAD**2 / (_PEOPLE_SPREAD**2 + noise)
    return _PEOPLE_AGE + share * (mean + (guess - mean) / slope - _PEOPLE_AGE)


def kept_traits(person: Person, match: str) -> Person:
    """``person`` with only those traits that a surrogate is to share: ``match`` as in
    :class:`deid.config.RunConfig`."""
    kept = match.split(",")
    female = person.female if "gender" in kept else float("nan")
    return replace(person, female=female, age=person.age if "age" in kept else float("nan"))


def find_people(
    tracks: Sequence[Track],
    chips: dict[int, list[Chip]],
    codes: dict[int, np.ndarray],
    clear: Mapping[int, list[bool]] | None = None,
) -> list[Person]:
    """People numbered from 1 in order of appearance. ``codes``: of ``chips``, in the same order, by track id. What
    pictures tell that are too dark or blurred goes into a guess of age and gender, never into who it is. ``clear``:
    :func:`clear_ones`, if they are known already."""
    people = []
    clear = clear_ones(chips) if clear is None else clear
    for number, group in enumerate(merge(tracks, telling(codes, clear)), start=1):
        seen = [
            (-chip.quality, not legible, code)
            for t in group
            for chip, legible, code in zip(chips[t.id], clear[t.id], codes[t.id], strict=True)
        ]
        seen.sort(key=lambda pair: pair[:1])
        own = np.array([code for _, unclear, code in seen if not unclear][:_BEST], np.float32).reshape(-1, 128)
        shown = np.array([code for _, _, code in seen][:_BEST], np.float32).reshape(-1, 128)
        place = b"".join(_place(t) for t in sorted(group, key=lambda t: (t.first, t.id)))
        told = describe(own if len(own) else shown)
        people.append(Person(number, tuple(sorted(t.id for t in group)), own, *told, place))
    return people


def _place(track: Track) -> bytes:
    box = np.rint(np.median(track.boxes[:, :4], axis=0) / 8).astype(int)
    return np.array([track.first, track.last, *box], "<i4").tobytes()


def across(files: Sequence[Sequence[Person]], threshold: float = SAME_PERSON) -> list[list[tuple[int, int]]]:
    """Who is the same person in several files: groups of (place of the file, person's number), nearest pairs first by
    the mean distance between templates, as :func:`merge` does it. Two people of one file stay two; whom nothing
    recognises stays alone. Which file comes first makes no difference to who goes with whom."""
    members = [(person.content, place, person) for place, people in enumerate(files) for person in people]
    members.sort(key=lambda m: (m[0], m[1]))
    groups = [[i] for i in range(len(members))]
    apart = _all_apart([person.template for _, _, person in members])
    files_of = np.array([place for _, place, _ in members])
    apart[files_of[:, None] == files_of] = np.inf
    apart[np.tril_indices(len(members))] = np.inf
    while len(members):
        i, j = divmod(int(apart.argmin()), len(members))
        if not apart[i, j] < threshold:
            break
        # average linkage: the mean over all pairs; what may not be together stays infinitely far (Lance and Williams)
        a, b = len(groups[i]), len(groups[j])
        joined = (a * np.minimum(apart[i], apart[:, i]) + b * np.minimum(apart[j], apart[:, j])) / (a + b)
        apart[j], apart[:, j] = np.inf, np.inf
        joined[j] = np.inf
        apart[i, i + 1 :], apart[:i, i] = joined[i + 1 :], joined[:i]
        groups[i] += groups[j]
        groups[j] = []
    return [sorted((members[k][1], members[k][2].id) for k in group) for group in groups if group]


def _all_apart(templates: Sequence[np.ndarray | None]) -> np.ndarray:
    """Distances of every pair, float64 (n, n); infinite where there is no template."""
    out = np.full((len(templates), len(templates)), np.inf)
    known = np.array([i for i, t in enumerate(templates) if t is not None], int)
    if len(known):
        codes = np.array([templates[i] for i in known], np.float64)
        for row, code in zip(known, codes, strict=True):
            out[row, known] = np.sqrt(((codes - code) ** 2).sum(1))
    return out


def codes_of(files: Sequence[Sequence[Person]], group: Sequence[tuple[int, int]], most: int = 8) -> np.ndarray:
    """Recognition codes of somebody whom :func:`across` found, float32 (n, 128), the same in whatever order the files
    come: in turn the best of each file."""
    people = [next(p for p in files[place] if p.id == number) for place, number in group]
    people.sort(key=lambda p: p.content)
    longest = max((len(p.codes) for p in people), default=0)
    turns = [p.codes[i] for i in range(longest) for p in people if i < len(p.codes)]
    return np.array(turns[:most], np.float32).reshape(-1, 128)
