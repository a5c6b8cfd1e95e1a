"""The rule books of HTTP caching: RFC 9110, 9111, 9211, 9213, 5861, 8586, as pure functions.

Bytes and small frozen values in, decisions out. No I/O, no clock, no configuration file: times
and limits are arguments, so that tests run the very code that serves. `neuro.cache` composes these
rules into the life of a request; nothing here knows of stored bodies, collapsing or purges.
"""
