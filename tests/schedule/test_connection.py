"""A cluster that several sweeps use is left after the last of them."""

import weakref
from concurrent.futures import Future

from tuning.schedule.connection import Cluster, Node


def test_it_is_left_once_after_its_last_sweep() -> None:
    left = []
    cluster = Cluster(Future(), uses=3, leave=lambda: left.append(True))
    cluster.release()
    cluster.release()
    assert not left
    cluster.release()
    assert left == [True]


def test_it_is_up_once_its_nodes_are_known() -> None:
    on_its_way: Future[list[Node]] = Future()
    cluster = Cluster(on_its_way, uses=1)
    assert not cluster.is_up
    on_its_way.set_result([Node(host="a", cpus=2, gpus=0)])
    assert cluster.is_up and cluster.nodes() == [Node(host="a", cpus=2, gpus=0)]


def test_what_tune_has_left_is_gone_before_ray_is_left() -> None:
    """In a cycle, as Tune's controller is with the handles of its actors."""
    alive: list[bool] = []

    class Controller:
        def __init__(self) -> None:
            self.me = self

    gone = weakref.ref(Controller())
    cluster = Cluster(Future(), uses=1, leave=lambda: alive.append(gone() is not None))
    cluster.release()
    assert alive == [False]
