# Every image of Threadmill, one target each: ingress, scheduler, archiver, worker, all-in-one.
#
#   make images         builds them with podman or docker, whichever is there
#   make images-smoke   builds them, runs each without any right, and looks
#
# Both bases are official images, pinned by the digest of their index over amd64 and arm64. For a newer one:
# `docker buildx imagetools inspect python:3.11-slim-bookworm`.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
ARG NODE=docker.io/library/node:24-bookworm-slim@sha256:235600a8101ab264e117b1768e925532262668dc9b581ef1dd7d96ced463b8e7

FROM ${NODE} AS node

# Debian's packages are not pinned: the weekly build takes up their security updates, those of the base as well. Python and node
# are as old as the digests above, libraries as their locks: those a person raises.
FROM ${BASE} AS debian
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get upgrade -y \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log


# The tools of the build; nothing of this stage but the uv program, and what Python is linked to, ends up anywhere.
FROM debian AS tools
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements/bootstrap.lock requirements/
RUN python3 -m venv /tools \
 && /tools/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/bootstrap.lock
COPY delivery/environment delivery/bare.py delivery/

# Threadmill itself, one wheel for all images; what an image can run, its libraries decide.
FROM tools AS package
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY services services
RUN /tools/bin/python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheel .


FROM tools AS ingress-root
COPY requirements/ingress.lock requirements/
RUN sh delivery/environment requirements/ingress.lock
COPY --from=package /wheel /wheel
RUN sh delivery/environment /wheel
RUN python3 delivery/bare.py /bare

FROM tools AS scheduler-root
COPY requirements/scheduler.lock requirements/
RUN sh delivery/environment requirements/scheduler.lock
COPY --from=package /wheel /wheel
RUN sh delivery/environment /wheel
RUN python3 delivery/bare.py /bare

FROM tools AS archiver-root
COPY requirements/archiver.lock requirements/
RUN sh delivery/environment requirements/archiver.lock
COPY --from=package /wheel /wheel
RUN sh delivery/environment /wheel
RUN python3 delivery/bare.py /bare

# Claude Code comes inside the wheel of its SDK, whose hash is in the lock. What is in the image is checked once more, by
# version and checksum, and must start: without it there is no image.
FROM tools AS worker-root
COPY requirements/worker.lock requirements/
RUN sh delivery/environment requirements/worker.lock
COPY delivery/check-claude-code delivery/
COPY requirements/claude-code.sha256 requirements/
RUN sh delivery/check-claude-code requirements/claude-code.sha256
COPY --from=package /wheel /wheel
RUN sh delivery/environment /wheel

FROM tools AS all-in-one-root
COPY requirements/local.lock requirements/
RUN sh delivery/environment requirements/local.lock
COPY delivery/check-claude-code delivery/
COPY requirements/claude-code.sha256 requirements/
RUN sh delivery/check-claude-code requirements/claude-code.sha256
COPY --from=package /wheel /wheel
RUN sh delivery/environment /wheel


# A service has Python, its libraries and nothing else: no shell, no package manager, no pip. `kubectl debug` brings tools
# along when somebody needs to look. OpenSSL is told where the certificates are, since its own links are not there.
FROM scratch AS service
ENV PATH=/opt/threadmill/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
WORKDIR /tmp

FROM service AS ingress
COPY --from=ingress-root /bare /
CMD ["python", "-m", "services.ingress"]

FROM service AS scheduler
COPY --from=scheduler-root /bare /
CMD ["python", "-m", "services.scheduler"]

FROM service AS archiver
COPY --from=archiver-root /bare /
CMD ["python", "-m", "services.archiver"]


# Where an agent works it finds what most repositories need to be cloned, built and tested:
#   git, openssh-client, ca-certificates, curl   to fetch and to push
#   build-essential, pkg-config                  C and C++, and extensions of Python and Node
#   Python with pip and venv (the base's), uv; node, npm, npx
#   ripgrep, jq, less, patch, procps, unzip, xz-utils, zip   what agents reach for by habit
#   tini                                         takes care of processes that a tool leaves behind, as process 1
# A team with other toolchains builds its own image on top of this one and names it in a pool.
FROM debian AS workshop
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      build-essential ca-certificates curl git jq less openssh-client patch pkg-config procps ripgrep tini unzip \
      xz-utils zip \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
 && node --version && npm --version
COPY --from=tools /tools/bin/uv /usr/local/bin/uv
RUN groupadd --gid 10001 threadmill \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /bin/bash threadmill \
 && install -d -o 10001 -g 10001 -m 0700 /data
ENV PATH=/opt/threadmill/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/data
WORKDIR /data
ENTRYPOINT ["tini", "--"]

FROM workshop AS worker
COPY --from=worker-root /opt/threadmill /opt/threadmill
USER 10001:10001
RUN claude --version && git --version
CMD ["python", "-m", "services.worker"]

# Local mode in one container, for teams too small for a cluster; it talks to the real Slack by Socket Mode and so needs
# no port. Its page, which knows no login, listens inside the container on loopback alone. What it keeps is in /data.
#
#   docker run --read-only --cap-drop ALL --tmpfs /tmp -v threadmill:/data \
#     -e SLACK_BOT_TOKEN -e SLACK_APP_TOKEN -e ANTHROPIC_API_KEY threadmill/all-in-one
FROM workshop AS all-in-one
COPY --from=all-in-one-root /opt/threadmill /opt/threadmill
USER 10001:10001
RUN claude --version && git --version && nats-server --version
ENV THREADMILL_DATA=/data/threadmill
VOLUME /data
HEALTHCHECK --start-period=30s CMD ["curl", "--fail", "--silent", "--max-time", "5", "http://127.0.0.1:8700/readyz"]
CMD ["threadmill", "dev"]
