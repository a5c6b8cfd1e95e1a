"""The port for operators: status page, health, metrics, JSON API.

Owns routes and the page. Never knows how a node is made: it sees one through `NodeView`. Nothing
here is on a client's path, so a framework will do (docs/decisions/0005-starlette-for-admin.md).
"""
