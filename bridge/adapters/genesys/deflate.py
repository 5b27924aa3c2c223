"""permessage-deflate (RFC 7692) that refuses a compressed stream which has ended."""

from collections.abc import Sequence

from websockets.exceptions import ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame
from websockets.typing import ExtensionParameter


class _Deflate(PerMessageDeflate):
    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        decoded = super().decode(frame, max_size=max_size)
        # A final DEFLATE block ends the stream. zlib then keeps all further input, without a bound, and makes nothing
        # of it: every later message would be empty, and none missed.
        decoder = getattr(self, "decoder", None)
        if decoder is not None and decoder.eof:
            raise ProtocolError("the compressed stream has ended")
        return decoded


class DeflateFactory(ClientPerMessageDeflateFactory):
    """What the client offers: compression with the library's defaults."""

    def __init__(self) -> None:
        super().__init__(compress_settings={"memLevel": 5})

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        """The extension as the server has agreed to it."""
        agreed = super().process_response_params(params, accepted_extensions)
        return _Deflate(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
            agreed.compress_settings,
        )
