"""The README beside the deploy files: what to send where, and what to know before."""

import json
import shlex

from qexp.report.bodies import (
    as_json,
    create_body,
    create_threshold,
    filter_body,
    is_old,
    is_quantized,
    may_split,
    patch_command,
    payload_index_bodies,
    search_body,
    segment_vectors_kib,
    update_threshold,
    vector_name,
)
from qexp.report.markdown import bullets
from qexp.report.record import CollectionRecord
from qexp.results import INDEXED_FROM, SEGMENT_KIB, Row

_REQUEST = "$QDRANT_URL/collections/NAME"
_LATER = (
    "The `PATCH` sets HNSW and quantization for the vector itself, which wins over what is set for the collection: one "
    "that changes them later has to say it there too, in `vectors`, also to take the quantization back.\n\n"
)
_STAYS = (
    "A quantization that the collection has for all vectors stays, as Qdrant cannot take it back for one of them: "
    'there a search sends `"quantization": {"ignore": true}` in its `params`, beside what is said below of them, to be '
    "what was measured.\n\n"
)
_GROWING = (
    "Each time so many have come, the smallest segment is built anew with them, as long as both fit into one: all of "
    "the points where it is the only one. Where points keep coming, leave `default_segment_number` and "
    "`max_segment_size` out, for several segments by the machine's CPUs (2 to 8), and measure `index.segments=…`."
)
_HEADERS = """-H "api-key: $QDRANT_API_KEY" -H 'Content-Type: application/json'"""


def readme(collection: CollectionRecord, row: Row, why: list[str], has_old: bool) -> str:
    """Return the README for one row of a collection.

    `why` are the reasons, one a line; `has_old` says whether there are files for older servers.
    """
    quantized = not row.baseline
    turbo = quantized and any(key.startswith("quantization.config.turbo") for key in collection.config)
    needs = " TurboQuant needs 1.18 or newer." if turbo else ""
    older = f"for older servers there is `before_1_19/`.{needs}" if has_old else "older ones cannot keep it as it was."
    newest = collection.config["storage.datatype"] in ("turbo16", "turbo8") or (
        quantized and collection.config.get("quantization.config.turbo.bits") == "bits8"
    )
    since = "1.20" if newest else "1.19"
    servers, folder = f"For Qdrant {since} or newer; {older}", ""
    if has_old and is_old(collection):
        folder = "before_1_19/"
        servers = f"For servers before 1.19, as the one measured; newer ones take the files beside `{folder}`.{needs}"
    patch = f"curl -X PATCH {_REQUEST} {_HEADERS} -d @{folder}update_collection.json"
    if collection.config.get("engine.source_collection"):
        patch = patch_command(collection, f"@{folder}update_collection.json")
    put = f"curl -X PUT {_REQUEST}/index {_HEADERS} -d @payload_index"
    indexes = "".join(f"{put}_{number}.json\n" for number, _ in enumerate(payload_index_bodies(collection), 1))
    stays = _STAYS if vector_name(collection) and not is_quantized(collection, row) else ""
    before = _vectors(collection) + _LATER + stays + indexing(collection)
    return f"""# What to deploy

{bullets(why)}

{servers}

```bash
curl -X PUT {_REQUEST} {_HEADERS} -d @{folder}create_collection.json  # a new one
{indexes}{patch}  # or yours
```

{before}{_params(collection, row)}

{_filtered(collection)}`deploy.py` has the same in Python, as functions `create` and `search`.
It wants `qdrant-client` {since} or newer, and such a server: older ones ignore `memory`.
`evidence.json` holds the runs, figures and intervals. Measured on {collection.dataset["points"]:,} points; measure
again when your data changes.
"""


def _vectors(collection: CollectionRecord) -> str:
    """Return what vectors must be for the figures to hold: paragraphs for the README; nothing of a live collection."""
    if collection.config.get("engine.source_collection"):
        return ""
    facts, datatype = collection.dataset, collection.config["storage.datatype"]
    size, native, distance = facts["size"], facts.get("native_size", facts["size"]), facts["distance"].lower()
    cut = ""
    if native != size:
        again = "; for cosine Qdrant normalises them again" if distance == "cosine" else ""
        cut = (
            f"What was measured are the first {size:,} of {native:,} components: cut the vectors of points and of "
            f"queries alike before they are sent{again}.\n\n"
        )
    unnamed = (
        "The `PATCH` has indexed segments built anew, and those beyond the number that was measured merged, but for a "
        "rest smaller than `indexing_threshold` (none is split); leave `optimizers_config` out of it to keep the "
        "number that you have, and when they are indexed. "
        'Where it says `""`, put the name of your vector if it has one. '
    )
    return (
        f"{cut}{'' if vector_name(collection) else unnamed}The `PATCH` leaves size, distance and datatype of vectors "
        f"as they are, which no collection can change: yours must have {size:,} dimensions, {distance} and "
        f"{datatype}.\n\n"
    )


def indexing(collection: CollectionRecord) -> str:
    """Return what is to be known where payload indexes or few points need it: paragraphs for the README."""
    paragraphs = []
    if payload_index_bodies(collection):
        paragraphs.append(
            "Before any point is uploaded, or before the `PATCH`, `PUT` each `payload_index_*.json` to "
            "`/collections/NAME/index`, unless the collection has an index on that field: the graph has the links for "
            "searches with a filter, as measured, only if it is built when the payload indexes are there."
        )
    kib = segment_vectors_kib(collection)
    if kib < INDEXED_FROM:
        paragraphs.append(
            f"By default a segment of less than {INDEXED_FROM:,} KiB of vectors has no index and no scalar or product "
            f"codes, and one of these has {kib:,} KiB: hence `indexing_threshold`. Leave it out where many more points "
            "come."
        )
    if (segments := collection.config["index.segments"]) > 1:
        paragraphs.append(
            f"There were {segments} segments of {kib:,} KiB of vectors in each shard: hence `max_segment_size`, in "
            "which two of them do not fit, for Qdrant would index two as one. Raise it where many more points come."
        )
    elif may_split(collection):
        paragraphs.append(
            f"By default a machine with few CPUs makes no segment of more than {SEGMENT_KIB:,} KiB of vectors, so more "
            f"of them than were measured; one of these has {kib:,} KiB: hence `max_segment_size`, room for twice as "
            "many."
        )
    threshold = create_threshold(collection)
    named = bool(vector_name(collection))
    patched = threshold if named else update_threshold(create_body(collection, False), kib)
    after = f" ({patched:,} where the `PATCH` was sent)" if patched != threshold else ""
    paragraphs.append(
        "All points were in the index when it was measured. Points that are uploaded later wait outside of it until "
        f"they are {threshold:,} KiB of vectors{after}, and every search scans those that wait. To have a new "
        "collection as it was measured, create it with `indexing_threshold` 0 in `optimizers_config`, upload all "
        "points, and only then `PATCH` "
        f'`{{"optimizers_config": {{"indexing_threshold": {threshold}}}}}`. To have all points of a '
        "patched collection in it, wait until it is green, `PATCH` the threshold to 1, wait again, and `PATCH` it "
        f"back to {'what it was' if named else f'{patched:,}'}."
    )
    return "".join(f"{paragraph}\n\n" for paragraph in [*paragraphs, _GROWING])


def _params(collection: CollectionRecord, row: Row) -> str:
    """Return what a search has to send, with an example: paragraphs for the README."""
    params, limit, name = search_body(row), row.point.limit, vector_name(collection)
    using = (
        f"\n\nIn your collection a search names the vector: `using`, in `deploy.py` too, is `{name}`." if name else ""
    )
    if not params:
        return f"A search sends no `params` (limit {limit}).{using}"
    sent = json.dumps({**({"using": name} if name else {}), "limit": limit, "params": params}, ensure_ascii=False)
    body = shlex.quote(f'{{"query": VECTOR, {sent[1:]}')
    return (
        f"Send `search_params.json` as `params` with every search (limit {limit}):\n\n```bash\n"
        f"curl -X POST {_REQUEST}/points/query {_HEADERS} -d {body}\n```{using}"
    )


def _filtered(collection: CollectionRecord) -> str:
    """Return what is to be known of the filter that every search was measured with: a paragraph for the README."""
    condition = filter_body(collection)
    if not condition:
        return ""
    return (
        "Send this as `filter`, beside `params`, too: every search was measured with it, and the figures hold for "
        f"searches with it alone.\n\n```json\n{as_json(condition)}```\n\n"
    )
