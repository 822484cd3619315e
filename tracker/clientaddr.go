package tracker

import (
	"net/netip"

	"github.com/valyala/fasthttp"
)

// ClientAddr returns the address of the browser behind a request: the peer of the connection, or whom a trusted
// proxy names. It is for parts beside the tracker that must tell clients apart while they answer.
func (t *Tracker) ClientAddr(ctx *fasthttp.RequestCtx) netip.Addr {
	return t.proxies.client(peer(ctx), ctx.Request.Header.PeekAll("X-Forwarded-For")...)
}
