"""Spans of what is handled, to an endpoint where one is configured."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.runtime.traceparent import within

_tracer = trace.get_tracer("threadmill")
_w3c = TraceContextTextMapPropagator()


def configure_tracing(service: str, endpoint: str | None) -> None:
    """Make spans real for this process; they leave it only where `endpoint` (an OTLP/HTTP URL) is given."""
    provider = TracerProvider(resource=Resource.create({"service.name": f"threadmill-{service}"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 (large)

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, headers: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run the body in a span, a child of the one that `headers` name."""
    parent = _w3c.extract(headers) if headers else None
    with _tracer.start_as_current_span(name, context=parent):
        told: dict[str, str] = {}
        _w3c.inject(told)
        with within(told):
            yield
