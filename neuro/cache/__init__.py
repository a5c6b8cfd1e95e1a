"""The life of a request as decisions without I/O: plans in, effects out. Built on neuro.http.

How the edge uses it:

1. `CacheRequest(method, key, fields, has_body)`; look `key` up, read it with
   `StoredResponse.from_object(view)`. If `stored.meta.is_marker`, look up
   `variant_key_for(request, marker)` too; a variant that is not there: pass the marker itself.
2. `plan_request(request, stored, now_s, policy, is_uncacheable=table.is_uncacheable(...))` gives
   `Serve` (answer with `reply`; start `refresh` in the background if there is one), `Revalidate`,
   `Fetch` (send `method` and `fields`, after neuro.http.forwarding), `PassThrough`, `Refuse`.
3. `CollapseTable.join(request.key, id, now_ms)` before a plan with `may_collapse`: LEADER,
   FOLLOWER (waits for a `Wake`), ALONE. A woken follower with USE plans again on what is stored.
4. `plan_response(request, OriginResponse(...), plan, sent_s, received_s, policy, marker, nonce)`
   gives `StorePlan` (drop `delete`, fill at `key`, then store `marker`), `StreamOnly`, `Freshen`
   (write NOTHING, TIMES or FIELDS), or `Serve` (stale instead of an error). Drop every `delete`.
   `may_share` True: `table.share(...)`; else, and for StreamOnly: `table.release(...)`.
5. No response at all: `on_origin_failure(request, stored, now_s, policy, is_timeout=...)`.
6. Answer from what is stored or filling: `build_reply(request, plan.as_stored(), now_s, status)`;
   the leader itself: `build_first_reply(request, client_head, plan.as_stored(), now_s, status)`.
"""

from neuro.cache.collapse import CollapseTable, Role, Verdict, Wake
from neuro.cache.entry import EntryMalformed, EntryMeta
from neuro.cache.key import object_key, site_key, target_uri_key, variant_key
from neuro.cache.lifecycle import on_origin_failure, plan_request, variant_key_for
from neuro.cache.messages import (
    AUTHORIZED_OK,
    BODILESS,
    NEEDS_PYTHON,
    CacheRequest,
    ObjectView,
    OriginResponse,
    StoredResponse,
)
from neuro.cache.plans import (
    Fetch,
    Freshen,
    MarkerPlan,
    Outcome,
    PassThrough,
    Plan,
    Refuse,
    Reply,
    ResponsePlan,
    Revalidate,
    Serve,
    StorePlan,
    StreamOnly,
    Write,
)
from neuro.cache.policy import SharedCachePolicy
from neuro.cache.reply import build_first_reply, build_reply
from neuro.cache.storing import plan_response

__all__ = [
    "AUTHORIZED_OK",
    "BODILESS",
    "NEEDS_PYTHON",
    "CacheRequest",
    "CollapseTable",
    "EntryMalformed",
    "EntryMeta",
    "Fetch",
    "Freshen",
    "MarkerPlan",
    "ObjectView",
    "OriginResponse",
    "Outcome",
    "PassThrough",
    "Plan",
    "Refuse",
    "Reply",
    "ResponsePlan",
    "Revalidate",
    "Role",
    "Serve",
    "SharedCachePolicy",
    "StorePlan",
    "StoredResponse",
    "StreamOnly",
    "Verdict",
    "Wake",
    "Write",
    "build_first_reply",
    "build_reply",
    "object_key",
    "on_origin_failure",
    "plan_request",
    "plan_response",
    "site_key",
    "target_uri_key",
    "variant_key",
    "variant_key_for",
]
