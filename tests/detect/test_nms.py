"""Properties of non-maximum suppression."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from toeline.core.box import Box
from toeline.detect.postprocess import keep_best

boxes = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 30)] * 2).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)
rows = st.lists(st.tuples(boxes, st.integers(1, 9), st.integers(0, 2)), max_size=25)


def kept(some, iou=0.5):
    corners = np.asarray([b for b, _, _ in some], np.float32).reshape(-1, 4)
    scores = np.asarray([s / 10 for _, s, _ in some], np.float32)
    return keep_best(corners, scores, np.asarray([k for _, _, k in some], np.int64), iou=iou).tolist()


def overlap(a, b):
    return Box(*a[0]).iou(Box(*b[0]))


@settings(deadline=None)
@given(rows)
def test_what_stays_is_apart_and_what_goes_had_a_better_rival(some):
    stay = kept(some)
    assert len(set(stay)) == len(stay)
    assert [some[n][1] for n in stay] == sorted((some[n][1] for n in stay), reverse=True)
    for n in stay:
        assert not any(m != n and some[m][2] == some[n][2] and overlap(some[m], some[n]) > 0.5 + 1e-6 for m in stay)
    for n in set(range(len(some))) - set(stay):
        rivals = [m for m in stay if some[m][2] == some[n][2] and some[m][1] >= some[n][1]]
        assert any(overlap(some[m], some[n]) > 0.5 - 1e-6 for m in rivals)


@settings(deadline=None)
@given(rows)
def test_doing_it_again_changes_nothing(some):
    once = [some[n] for n in kept(some)]
    assert kept(once) == list(range(len(once)))
