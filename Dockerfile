FROM python:3.13-slim AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.lock ./
RUN python -m venv /opt/gateway \
 && /opt/gateway/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY prompts prompts
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# What stands under "# development" in the lock builds and tests the package; the image does not carry it.
RUN /opt/gateway/bin/python -m pip install --quiet --no-deps --no-build-isolation . \
 && /opt/gateway/bin/python -m feedback_gateway.embedded.fetch \
 && sed '1,/^# development/d' requirements.lock | grep -o '^[a-z0-9][a-z0-9.-]*' \
  | xargs /opt/gateway/bin/python -m pip uninstall --quiet --yes

FROM python:3.13-slim
RUN useradd --create-home --uid 10001 gateway
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/gateway
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
# The gateway listens on loopback until an admin key exists; publish it through a proxy in the same network namespace.
ENTRYPOINT ["feedback-gateway"]
CMD ["serve"]
