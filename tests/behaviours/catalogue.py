"""All behaviours."""

from tests.behaviours.core import Behaviour
from tests.behaviours.graphs import graphs
from tests.behaviours.policies import policies
from tests.behaviours.structured import structured

__all__ = ["BEHAVIOURS"]

BEHAVIOURS: tuple[Behaviour, ...] = (*graphs(), *policies(), *structured())
