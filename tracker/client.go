package tracker

import (
	"net/netip"
	"strings"
)

// Proxies are the networks whose X-Forwarded-For is believed. The zero value believes nobody.
type Proxies struct{ networks []netip.Prefix }

// trusts tells whether addr is that of a trusted proxy.
func (p Proxies) trusts(addr netip.Addr) bool {
	for _, network := range p.networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// client returns the address of the client behind the connection's peer. forwarded are the values of the
// X-Forwarded-For headers in their order, each a list of addresses.
//
// Anybody can write anything into that header, and every proxy appends the peer that it saw. So the list is
// read from the right for as long as a trusted proxy has written the entry: the first one that is no trusted
// proxy itself is the client. An entry that is no address ends the reading at the last one that was.
func (p Proxies) client(peer netip.Addr, forwarded ...[]byte) netip.Addr {
	client := bareAddr(peer)
	for i := len(forwarded) - 1; i >= 0; i-- {
		list := string(forwarded[i])
		for more := true; more; {
			if !p.trusts(client) {
				return client
			}
			cut := strings.LastIndexByte(list, ',')
			more = cut >= 0
			addr, ok := parseForwarded(list[cut+1:])
			if !ok {
				return client
			}
			client, list = addr, list[:max(cut, 0)]
		}
	}
	return client
}

// parseForwarded reads an entry of X-Forwarded-For: an address, which some proxies write with brackets or a port.
func parseForwarded(s string) (netip.Addr, bool) {
	s = strings.Trim(s, " \t")
	if addr, err := netip.ParseAddr(s); err == nil {
		return bareAddr(addr), true
	}
	if inner, found := strings.CutPrefix(s, "["); found {
		if inner, found = strings.CutSuffix(inner, "]"); found {
			addr, err := netip.ParseAddr(inner)
			return bareAddr(addr), err == nil
		}
	}
	if withPort, err := netip.ParseAddrPort(s); err == nil {
		return bareAddr(withPort.Addr()), true
	}
	return netip.Addr{}, false
}

// bareAddr returns addr in the one form in which it is compared: IPv4 as such and without a zone.
func bareAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
