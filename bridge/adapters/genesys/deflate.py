"""permessage-deflate (RFC 7692) that makes no more than there is room for."""

import asyncio
from collections.abc import Sequence

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame
from websockets.typing import ExtensionParameter

# The library inflates all that one TCP read (256 KiB) brings before it can pause. JSON shrinks to a fiftieth at best,
# so this is for bombs only: 1,000 times 256 KiB.
_MAX_BYTES_A_TURN = 32 * 1024 * 1024


class _Deflate(PerMessageDeflate):
    _made_bytes = 0

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        decoded = super().decode(frame, max_size=max_size)
        if decoded is frame:
            return frame
        # A final DEFLATE block ends the stream. zlib then keeps all further input, without a bound, and makes nothing
        # of it: every later message would be empty, and none missed.
        decoder = getattr(self, "decoder", None)
        if decoder is not None and decoder.eof:
            raise ProtocolError("the compressed stream has ended")
        if not self._made_bytes:
            asyncio.get_running_loop().call_soon(self._begin_turn)
        self._made_bytes += len(decoded.data) + 1
        if self._made_bytes > _MAX_BYTES_A_TURN:
            raise PayloadTooBig(None, _MAX_BYTES_A_TURN)
        return decoded

    def _begin_turn(self) -> None:
        self._made_bytes = 0


class DeflateFactory(ClientPerMessageDeflateFactory):
    """What the client offers: compression with the library's defaults. It works in a running event loop only."""

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
