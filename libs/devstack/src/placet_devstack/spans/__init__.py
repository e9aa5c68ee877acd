"""The embedded stack's own trace store: receives spans, keeps them in one file, and draws a trace.

A production stack sends its spans to a real backend and does without this.
"""

from placet_devstack.spans.model import Json, Span
from placet_devstack.spans.store import SpanStore, load_trace
from placet_devstack.spans.waterfall import render

__all__ = ["Json", "Span", "SpanStore", "load_trace", "render"]
