package tracker

import (
	"bytes"
	"net/netip"
)

// cutLast cuts s at the last separator that is not within quotes, read from the right. found is false if there is none;
// last is all of s then.
//
// From the right, because only the right end was written by a proxy: a quote that a client has opened on the left, and
// never closes, must not swallow what the proxy appended.
func cutLast(s []byte, separator byte) (rest, last []byte, found bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch c := s[i]; {
		case c == '"' && !(quoted && escaped(s, i)):
			quoted = !quoted
		case c == separator && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return nil, s, false
}

// escaped tells whether the character at i stands behind an odd number of backslashes.
func escaped(s []byte, i int) bool {
	n := 0
	for i--; i >= 0 && s[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// forwardedFor returns the address in the parameter "for" of an element of the header Forwarded (RFC 7239, section 4). ok is
// false if there is none: "unknown", a name that hides the address, no such parameter, two of them, or no such syntax.
func forwardedFor(element []byte) (addr netip.Addr, ok bool) {
	for more := true; more; {
		var pair []byte
		element, pair, more = cutLast(element, ';')
		pair = bytes.Trim(pair, " \t")
		if len(pair) == 0 {
			continue
		}
		name, value, found := bytes.Cut(pair, []byte("="))
		if !found {
			return netip.Addr{}, false
		}
		if !bytes.EqualFold(name, []byte("for")) {
			continue
		}
		if ok { // a second one
			return netip.Addr{}, false
		}
		if addr, ok = parseNode(unquote(value)); !ok {
			return netip.Addr{}, false
		}
	}
	return addr, ok
}

// unquote returns the content of a quoted string, or s itself. No address has a character that needs a backslash, so that
// what holds one is no address with or without it.
func unquote(s []byte) []byte {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}
