"""Trace context across the bus: W3C `traceparent` in every message, spans to an endpoint where one is configured."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from opentelemetry import context, propagate, trace

_tracer = trace.get_tracer("threadmill")


def configure_tracing(service: str, endpoint: str | None) -> None:
    """Make spans real for this process; they leave it only where `endpoint` (an OTLP/HTTP URL) is given."""
    # Whoever makes no spans, such as a worker, starts sooner without the SDK, and all without the exporter.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": f"threadmill-{service}"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


def inject(headers: MutableMapping[str, str]) -> None:
    """Add the current `traceparent` to `headers`."""
    propagate.inject(headers)


@contextmanager
def span(name: str, headers: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run the body in a span, a child of the one that `headers` name."""
    parent = propagate.extract(headers) if headers else None
    with _tracer.start_as_current_span(name, context=parent):
        yield


@contextmanager
def within(headers: Mapping[str, str]) -> Iterator[None]:
    """Run the body, and every task that it begins, in the span that `headers` name."""
    token = context.attach(propagate.extract(headers))
    try:
        yield
    finally:
        context.detach(token)
