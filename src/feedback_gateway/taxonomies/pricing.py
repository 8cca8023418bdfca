"""What analysing stored items again can cost, told before anybody is asked."""

from collections.abc import Sequence
from decimal import Decimal

from feedback_gateway.consumers.models import LOCAL_CONSUMER
from feedback_gateway.llm.budgeting import bound_of
from feedback_gateway.llm.chains import Fallbacks
from feedback_gateway.llm.models import Deployment
from feedback_gateway.tasks.models import CallOptions
from feedback_gateway.tasks.service import TaskService
from feedback_gateway.taxonomies.models import Tagged
from feedback_gateway.taxonomies.retagging import Price


def price_of(tasks: TaskService, deployments: Sequence[Deployment], fallbacks: Fallbacks) -> Price:
    """The most that one attempt at a stored item can cost, whoever answers; None where a price is not known."""

    def price(tagged: Tagged) -> Decimal | None:
        item = {"id": tagged.item_id, "text": tagged.text}
        request = tasks.preview(tagged.task, item, consumer=LOCAL_CONSUMER, options=CallOptions())
        aliases = fallbacks.reachable(request.model)
        bounds = [bound_of(request, deployment) for deployment in deployments if deployment.alias in aliases]
        known = [bound for bound in bounds if bound is not None]
        return max(known) if len(known) == len(bounds) else None

    return price
