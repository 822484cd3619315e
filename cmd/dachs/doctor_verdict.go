package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"dachs/tracker"
)

// How bad a finding is. A warning is for the operator to judge; what is wrong makes the command fail.
const (
	fine    = "ok"
	warning = "warning"
	wrong   = "WRONG"
)

// finding is one thing that the doctor has looked at.
type finding struct {
	level  string
	text   string
	remedy string // what to do; empty if nothing
}

// view is what two requests through the operator's address have shown: one as it is, and one with headers that name a
// client which does not exist.
type view struct {
	header string // that is believed
	direct bool   // nothing is between the doctor and the server
	plain  sighting
	forged sighting
	names  map[string]netip.Addr // whom the second one names, by header
}

// sets tells whether the proxy names the client in a header, whatever the client sends.
func (v *view) sets(header string) bool {
	_, ok := tracker.NamedClient(header, v.plain.Headers[header]...)
	return ok
}

// passes tells whether what the client wrote into a header arrives as the word of the proxy.
func (v *view) passes(header string) bool {
	name, forged := v.names[header]
	last, ok := tracker.NamedClient(header, v.forged.Headers[header]...)
	return forged && ok && last == name
}

// good returns the headers to believe: those that the proxy sets and a client cannot. The usual one is the first.
func (v *view) good() (names []string) {
	for _, header := range forwardingHeaders {
		if v.sets(header) && !v.passes(header) {
			names = append(names, header)
		}
	}
	return names
}

// setHeader is what to do with a proxy that does not name the client.
const setHeader = "let the proxy set the header; in nginx: proxy_set_header X-Forwarded-For $remote_addr;"

// believe says which flag makes the server believe a header that the proxy sets, or how to make the proxy set one.
func (v *view) believe() string {
	good := v.good()
	switch {
	case len(good) == 0:
		return setHeader
	case slices.Contains(good, v.header):
		return ""
	}
	return "set --client-header " + good[0] + ", which the proxy sets and a client cannot"
}

// judge says whether the server takes visitors for who they are.
func (v *view) judge() []finding {
	peer := v.plain.Peer.Addr()
	switch {
	case v.direct:
		return []finding{{warning, fmt.Sprintf("no proxy is between this command and the server, which saw the connection itself, from %s", peer),
			"if visitors come through a proxy, name the address that they use: dachs doctor --url https://..."}}
	case v.plain.Spoken:
		return v.judgeSpoken()
	case !v.plain.Trusted:
		remedy := []string{fmt.Sprintf("set --trusted-proxies %s (or the network of the proxy)", peer)}
		if more := v.believe(); more != "" {
			remedy = append(remedy, more)
		}
		return []finding{{wrong, fmt.Sprintf("all visitors look like one: requests come from %s, a proxy (or a container's network) that is not trusted to say for whom", peer),
			strings.Join(remedy, "; and ")}}
	case v.passes(v.header):
		remedy := v.believe()
		return []finding{{wrong, fmt.Sprintf("anybody can choose the address they are counted by: the proxy %s passes on %s as the client wrote it", peer, v.header), remedy}}
	case !v.sets(v.header):
		remedy := v.believe()
		return []finding{{wrong, fmt.Sprintf("all visitors look like one: the proxy %s is trusted, but names nobody in %s", peer, v.header), remedy}}
	}
	return v.judgeNamed()
}

// judgeNamed judges a trusted proxy that names the client in the header that is believed.
func (v *view) judgeNamed() []finding {
	peer, client := v.plain.Peer.Addr(), v.plain.Client
	found := []finding{{fine, fmt.Sprintf("the proxy %s names the client in %s: this request counts as one from %s. That should be the address "+
		"of this machine as the internet sees it; if it is that of another proxy, add it to --trusted-proxies", peer, v.header, client), ""}}
	if name, forged := v.names[v.header]; forged && v.forged.Client == name {
		found[0] = finding{warning, fmt.Sprintf("this machine is itself within --trusted-proxies (the proxy %s names %s), so that it is believed what it says; "+
			"whether others are cannot be told from here", peer, client), "narrow --trusted-proxies to the proxies, or ask from a machine outside of them with --url"}
	} else if forged {
		found = append(found, finding{fine, "a forged " + v.header + " is not believed", ""})
	}
	for _, header := range forwardingHeaders {
		if header != v.header && v.passes(header) {
			found = append(found, finding{fine, "the proxy passes on " + header + " as the client wrote it: it must not be set as --client-header", ""})
		}
	}
	return found
}

// judgeSpoken judges a proxy that speaks the PROXY protocol.
func (v *view) judgeSpoken() []finding {
	peer, client := v.plain.Peer.Addr(), v.plain.Client
	if client.IsUnspecified() {
		return []finding{{wrong, fmt.Sprintf("all visitors look like one: the proxy %s speaks the PROXY protocol, but names nobody", peer),
			"let the proxy send the client's address, as haproxy does with send-proxy-v2"}}
	}
	if name, forged := v.names[v.header]; forged && v.forged.Client == name {
		return []finding{{warning, fmt.Sprintf("the proxy %s names this machine in the PROXY protocol, which is itself within --trusted-proxies, so that it is believed what it says; "+
			"whether others are cannot be told from here", peer), "narrow --trusted-proxies to the proxies, or ask from a machine outside of them with --url"}}
	}
	return []finding{{fine, fmt.Sprintf("the proxy %s names the client in the PROXY protocol: this request counts as one from %s. A forged %s is not believed",
		peer, client, v.header), ""}}
}
