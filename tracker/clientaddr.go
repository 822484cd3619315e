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

// NamedClient returns whom the last entry of a header names: the one that the nearest proxy wrote, or let pass. ok is
// false if that is no address.
func NamedClient(header string, values ...string) (addr netip.Addr, ok bool) {
	nobody := netip.IPv4Unspecified() // no proxy has this address, so that one entry is read and no more
	p := Proxies{[]netip.Prefix{netip.PrefixFrom(nobody, nobody.BitLen())}, header}
	lists := make([][]byte, len(values))
	for i, v := range values {
		lists[i] = []byte(v)
	}
	addr = p.client(nobody, lists...)
	return addr, addr != nobody
}
