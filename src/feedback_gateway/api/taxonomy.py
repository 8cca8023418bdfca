"""`/v1/admin/taxonomy`: which taxonomy serves, its versions, and proposals to it. Every route takes an admin key."""

from typing import Annotated, Any, Literal

from fastapi import Query as InQuery
from pydantic import Field
from starlette.requests import Request

from feedback_gateway.api.admin_bodies import NAME, Strict, read_body
from feedback_gateway.api.deps import Json, Query, ServicesDep, in_thread, settle
from feedback_gateway.api.rendering import moment
from feedback_gateway.taxonomies.models import Proposal
from feedback_gateway.taxonomies.service import Accepted, Wish


class ProposalsQuery(Query):
    """Whether what was rejected is shown too."""

    rejected: Literal["true", "false"] = "false"


class WishBody(Strict):
    """What a proposal is accepted as; what is not given stays as it was proposed.

    `taxonomy_version` is that of the taxonomy that whoever decides has seen: another one refuses.
    """

    name: Annotated[str | None, Field(min_length=1, max_length=100, pattern=NAME)] = None
    description: Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00]*$")] = ""
    parent: Annotated[str | None, Field(min_length=1, max_length=100, pattern=NAME)] = None
    taxonomy_version: Annotated[str | None, Field(max_length=12, pattern=r"^[0-9a-f]+$")] = None

    def wish(self) -> Wish:
        """As the service takes it."""
        return Wish(**self.model_dump())


async def read_taxonomy(services: ServicesDep) -> Json:
    """The taxonomy that this process works with, and what is wrong with its file where it has another by now."""
    taxonomy = services.taxonomy.current
    return {
        "version": taxonomy.version,
        "label": taxonomy.label,
        "broken": services.taxonomy.broken,
        "content": dict(taxonomy.as_json()),
    }


async def list_versions(services: ServicesDep) -> Json:
    """Every taxonomy that ever served, the newest first, so that an old result can be explained."""
    found = await in_thread(services.books.taxonomies.versions)
    data = [
        {
            "version": one.version,
            "label": one.label,
            "first_seen_at": moment(one.first_seen_at),
            "content": dict(one.content),
        }
        for one in found
    ]
    return {"data": data, "next_cursor": None}


async def list_proposals(services: ServicesDep, query: Annotated[ProposalsQuery, InQuery()]) -> Json:
    """Categories that models missed, the best supported first."""
    await settle(services)
    found = await in_thread(services.taxonomies.proposals, with_rejected=query.rejected == "true")
    return {"data": [proposal_json(one) for one in found], "next_cursor": None}


async def accept_proposal(request: Request, services: ServicesDep, proposal_id: str) -> Json:
    """Write a proposed category into the taxonomy file; running processes take it up within a second or two."""
    body = await read_body(request, WishBody, is_optional=True)
    await settle(services)
    by = request.state.caller.consumer.name
    return accepted_json(await in_thread(services.taxonomies.accept, proposal_id, body.wish(), by=by))


async def reject_proposal(request: Request, services: ServicesDep, proposal_id: str) -> Json:
    """Propose it no more, until twice as many items ask for it."""
    await settle(services)
    by = request.state.caller.consumer.name
    return proposal_json(await in_thread(services.taxonomies.reject, proposal_id, by=by))


def proposal_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal with what speaks for it."""
    return {
        "id": proposal.id,
        "name": proposal.cluster.name,
        "names": list(proposal.cluster.names),
        "items": proposal.support,
        "people": len(proposal.cluster.people),
        "examples": list(proposal.examples),
        "rejected_at": None if proposal.rejected_at is None else moment(proposal.rejected_at),
    }


def accepted_json(accepted: Accepted) -> dict[str, Any]:
    """What the taxonomy has gained."""
    return {
        "category": accepted.category.name,
        "parent": accepted.parent,
        "taxonomy_version": accepted.version,
        "previous_version": accepted.before,
        "was_there": accepted.was_there,
    }
