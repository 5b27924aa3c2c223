FROM python:3.11-slim AS build
WORKDIR /src
RUN python3 -m venv /opt/bridge
# The libraries first: they change less often than the code, so a build after a change of the code is quick.
COPY constraints.txt pyproject.toml ./
RUN mkdir bridge && touch bridge/__init__.py README.md \
    && /opt/bridge/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt . \
    && /opt/bridge/bin/pip uninstall --yes bridge
COPY README.md ./
COPY bridge bridge
# What installs is not needed to run.
RUN /opt/bridge/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
    && /opt/bridge/bin/pip uninstall --yes pip setuptools

FROM python:3.11-slim
RUN useradd --system --no-create-home --uid 10001 bridge
COPY --from=build /opt/bridge /opt/bridge
USER bridge
# aiokafka's state machine is built on assert: never run with -O. Logs must not wait in a buffer.
ENV PATH=/opt/bridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONOPTIMIZE=
EXPOSE 8080
ENTRYPOINT ["bridge"]
CMD ["--help"]
