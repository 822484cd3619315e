package tracker

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// Networks is a set of networks, such as those of data centres. Looking for an address takes a binary search and no
// memory. It never changes, so many goroutines may use it. The nil set is empty.
type Networks struct {
	v4 []span4
	v6 []span6
}

type (
	span4 struct{ first, last uint32 }
	span6 struct{ first, last wide }
	wide  [2]uint64 // an IPv6 address
)

func (a wide) compare(b wide) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }

// NewNetworks makes a set of networks, which may overlap.
func NewNetworks(list []netip.Prefix) *Networks {
	n := &Networks{}
	for _, p := range list {
		p = p.Masked()
		if p.Addr().Is4() {
			first := narrow4(p.Addr())
			n.v4 = append(n.v4, span4{first, first | uint32(uint64(1)<<(32-p.Bits())-1)})
			continue
		}
		first, bits := wide6(p.Addr()), p.Bits()
		last := first
		if bits < 64 {
			last[0] |= 1<<(64-bits) - 1
			bits = 64
		}
		last[1] |= 1<<(128-bits) - 1
		n.v6 = append(n.v6, span6{first, last})
	}
	slices.SortFunc(n.v4, func(a, b span4) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last)) })
	slices.SortFunc(n.v6, func(a, b span6) int { return cmp.Or(a.first.compare(b.first), b.last.compare(a.last)) })
	// What lies within another is dropped: after that spans do not overlap, and the last one that begins at or below an
	// address is the only one that can hold it. Networks never overlap in part.
	v4, v6 := n.v4[:0], n.v6[:0]
	for _, s := range n.v4 {
		if len(v4) == 0 || s.last > v4[len(v4)-1].last {
			v4 = append(v4, s)
		}
	}
	for _, s := range n.v6 {
		if len(v6) == 0 || s.last.compare(v6[len(v6)-1].last) > 0 {
			v6 = append(v6, s)
		}
	}
	n.v4, n.v6 = slices.Clip(v4), slices.Clip(v6)
	return n
}

func narrow4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func wide6(a netip.Addr) wide {
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Len is the number of networks that do not lie within another of the set.
func (n *Networks) Len() int { return len(n.v4) + len(n.v6) }

// Contains tells whether an address lies in one of the networks.
func (n *Networks) Contains(a netip.Addr) bool {
	if n == nil || !a.IsValid() {
		return false
	}
	if a = a.Unmap(); a.Is4() {
		ip := narrow4(a)
		i, ok := slices.BinarySearchFunc(n.v4, ip, func(s span4, ip uint32) int { return cmp.Compare(s.first, ip) })
		return ok || i > 0 && ip <= n.v4[i-1].last
	}
	ip := wide6(a)
	i, ok := slices.BinarySearchFunc(n.v6, ip, func(s span6, ip wide) int { return s.first.compare(ip) })
	return ok || i > 0 && ip.compare(n.v6[i-1].last) <= 0
}

const (
	// maxNetworks bounds the memory of a file of networks: all ranges of all large hosters are some 100,000, and a million
	// take 32 MB at most.
	maxNetworks = 1 << 20
	// maxNetworkLine bounds a line, in bytes: a network has 43, the rest is comment.
	maxNetworkLine = 4 << 10
)

// OpenNetworks reads a file of networks: an address or a CIDR in a line, and after it, or after # or ;, what it likes.
// Errors name the line and say what is wrong with it.
func OpenNetworks(file string) (*Networks, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open networks: %w", err)
	}
	defer f.Close()
	n, err := readNetworks(f)
	if err != nil {
		return nil, fmt.Errorf("read networks %s: %w", file, err)
	}
	return n, nil
}

func readNetworks(r io.Reader) (*Networks, error) {
	var list []netip.Prefix
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxNetworkLine)
	line := 0
	for lines.Scan() {
		line++
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "\ufeff"), "#")
		text, _, _ = strings.Cut(text, ";")
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
		if len(fields) == 0 {
			continue
		}
		p, err := parseNetwork(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if len(list) == maxNetworks {
			return nil, fmt.Errorf("line %d: more than %d networks; join neighbouring ones", line, maxNetworks)
		}
		list = append(list, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", line+1, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no network in it; want an address or a network in each line, such as 192.0.2.0/24")
	}
	return NewNetworks(list), nil
}

// parseNetwork reads a network as people write it: with a length, or a single address.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		var ip netip.Addr
		if ip, err = netip.ParseAddr(s); err == nil {
			ip = bareAddr(ip)
			p, err = ip.Prefix(ip.BitLen())
		}
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network %q: want an address or a network, such as 192.0.2.1 or 192.0.2.0/24", s)
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("network %q: it is wider than all of IPv4; write it as IPv4", s)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
