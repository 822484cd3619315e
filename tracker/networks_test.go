package tracker

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNetworksAgreeWithPlainLoop asks for addresses in and beside random networks, which overlap and nest.
func TestNetworksAgreeWithPlainLoop(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	inside := 0
	for range 300 {
		var list []netip.Prefix
		for range 1 + r.IntN(12) {
			a := randomAddr(r)
			bits := r.IntN(a.BitLen() + 1)
			p, err := a.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, p)
		}
		n := NewNetworks(list)
		asked := []netip.Addr{randomAddr(r)}
		for _, p := range list {
			last := lastOf(p)
			asked = append(asked, p.Addr(), p.Addr().Prev(), last, last.Next())
		}
		for _, a := range asked {
			want := a.IsValid() && slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
			if got := n.Contains(a); got != want {
				t.Fatalf("%s in %v is %v", a, list, got)
			}
			if want {
				inside++
			}
		}
	}
	if inside < 1000 {
		t.Errorf("only %d addresses lay in a network", inside)
	}
}

// randomAddr draws from few bits, so that networks meet.
func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(r.IntN(3)), byte(r.IntN(3)), 0, byte(r.IntN(256))})
	}
	var b [16]byte
	b[0], b[1], b[7], b[8], b[15] = 0x20, byte(r.IntN(3)), byte(r.IntN(3)), byte(r.IntN(256)), byte(r.IntN(256))
	return netip.AddrFrom16(b)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestNetworksFile(t *testing.T) {
	for text, want := range map[string]string{
		"# of a hoster\r\n192.0.2.0/24\r\n\n2001:db8::/32 ; comment\n198.51.100.7, Some Hoster\n": "",
		"\ufeff192.0.2.0/24":         "",
		"192.0.2.0/24\n192.0.2.0/33": `line 2: network "192.0.2.0/33": want an address or a network`,
		"# nothing\n":                "no network in it",
		"":                           "no network in it",
		strings.Repeat("x", 10_000):  "line 1: ",
	} {
		file := filepath.Join(t.TempDir(), "networks.txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := OpenNetworks(file)
		switch {
		case want == "" && (err != nil || !n.Contains(netip.MustParseAddr("192.0.2.9")) || n.Contains(netip.MustParseAddr("192.0.3.9"))):
			t.Errorf("%.30q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file)):
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
		if strings.Contains(text, "hoster") && n.Len() != 3 {
			t.Errorf("%d networks", n.Len())
		}
	}
	if _, err := OpenNetworks(filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a missing file was read")
	}
}
