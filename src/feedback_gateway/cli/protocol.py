"""HTTP/1.1 as uvicorn speaks it, but for bytes that are no HTTP: their answer is a problem document as well."""

import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feedback_gateway.api.problems import MEDIA_TYPE, problem
from feedback_gateway.errors import MalformedRequest


class ProblemProtocol(HttpToolsProtocol):
    """One connection."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read as a request, and close."""
        del msg  # uvicorn's sentence
        body = json.dumps(problem(MalformedRequest("this is no valid HTTP request"))).encode()
        head = [
            b"HTTP/1.1 400 Bad Request",
            *(name + b": " + value for name, value in self.server_state.default_headers),
            b"content-type: " + MEDIA_TYPE.encode(),
            b"content-length: " + str(len(body)).encode(),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()
