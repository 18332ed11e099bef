"""What reads bytes that somebody else wrote, each as one function of bytes: for coverage-guided fuzzing and for properties.

A harness lets nothing pass but errors that its parser promises. Everything else - a traceback, a verdict that cannot be - is a bug.
"""
from __future__ import annotations
