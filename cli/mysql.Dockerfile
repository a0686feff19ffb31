# syntax=docker/dockerfile:1
# The `lms` command beside MySQL's own tools, for back-ups of a MySQL server: mysql, mysqldump and mysqlbinlog. Debian has them
# in unstable alone; newer tools speak with older servers.
# Built from the repository's root: docker build -f cli/mysql.Dockerfile -t lms-backup .
# Unstable changes every day, so a release names the base by digest: --build-arg DEBIAN_IMAGE=debian:sid-slim@sha256:…
ARG DEBIAN_IMAGE=debian:sid-slim

FROM ${DEBIAN_IMAGE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check uv==0.13.9
ENV PATH=/opt/uv/bin:$PATH UV_PYTHON=/usr/bin/python3 UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock ./
COPY shared/pyproject.toml shared/
COPY cli/pyproject.toml cli/
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --no-install-workspace --package lms-cli
COPY shared/src shared/src
COPY cli cli
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --package lms-cli

FROM ${DEBIAN_IMAGE}
LABEL org.opencontainers.image.title=lms-backup org.opencontainers.image.licenses=Apache-2.0
# mysqlbinlog comes with the server, which itself is not wanted here: a trial has one of the right version beside it.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 mysql-client-core mysql-server-core \
    && rm -rf /var/lib/apt/lists/* /usr/sbin/mysqld \
    && groupadd --gid 10001 lms \
    && useradd --uid 10001 --gid lms --no-create-home --shell /usr/sbin/nologin lms \
    && install -d -o lms -g lms /data /metrics /lists/directory /lists/audit
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LMS_HOME=/tmp/lms
USER 10001:10001
ENTRYPOINT ["lms"]
CMD ["--help"]
