from pyro_mcp.mcp_server.server import create_server as create_server
from pyro_mcp.sdk import Pyro as Pyro

__version__: str
