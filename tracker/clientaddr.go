package tracker

import (
	"net"
	"net/netip"

	"github.com/valyala/fasthttp"
)

// ClientAddr returns the address of the browser behind a request: the peer of the connection, or whom a trusted
// proxy names. It is for parts beside the tracker that must tell clients apart while they answer.
func (t *Tracker) ClientAddr(ctx *fasthttp.RequestCtx) netip.Addr {
	return t.proxies.client(peer(ctx), ctx.Request.Header.PeekAll(t.proxies.name())...)
}

// peer returns the address at the other end of the connection.
func peer(ctx *fasthttp.RequestCtx) netip.Addr {
	if tcp, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.IPv4Unspecified()
}
