"""Types that the parts of the status share."""

from typing import Annotated

from pydantic import Field

Text = Annotated[str, Field(max_length=1024)]
Short = Annotated[str, Field(max_length=128)]
Digest = Annotated[str, Field(max_length=16)]  # the first 64 bits of a sha256, in hex
