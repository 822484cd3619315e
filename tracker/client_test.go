package tracker

import (
	"net/netip"
	"strings"
	"testing"
)

func TestClient(t *testing.T) {
	var proxies Proxies
	for _, network := range []string{"127.0.0.1/32", "10.0.0.0/8", "fd00::/8", "192.168.0.0/16"} {
		proxies.networks = append(proxies.networks, netip.MustParsePrefix(network))
	}
	for _, c := range []struct{ peer, forwarded, want string }{ // headers are separated by |
		{"203.0.113.1", "", "203.0.113.1"},
		{"203.0.113.1", "198.51.100.7", "203.0.113.1"}, // not from a proxy: forged
		{"127.0.0.1", "", "127.0.0.1"},
		{"127.0.0.1", "198.51.100.7", "198.51.100.7"},
		{"127.0.0.1", "1.2.3.4, 198.51.100.7", "198.51.100.7"}, // the client wrote 1.2.3.4 itself
		{"127.0.0.1", "1.2.3.4|198.51.100.7", "198.51.100.7"},
		{"127.0.0.1", "198.51.100.7, 10.1.1.1", "198.51.100.7"},
		{"127.0.0.1", "1.2.3.4|198.51.100.7, 10.1.1.1|10.2.2.2", "198.51.100.7"},
		{"127.0.0.1", "10.0.0.5,10.0.0.6", "10.0.0.5"}, // within the networks of the proxies
		{"127.0.0.1", "garbage", "127.0.0.1"},
		{"127.0.0.1", "198.51.100.7, garbage", "127.0.0.1"},
		{"127.0.0.1", "198.51.100.7, unknown, 10.1.1.1", "10.1.1.1"},
		{"127.0.0.1", "198.51.100.7,", "127.0.0.1"},
		{"127.0.0.1", "garbage, 198.51.100.7", "198.51.100.7"},
		{"127.0.0.1", "198.51.100.7:4711", "198.51.100.7"},
		{"127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"},
		{"127.0.0.1", "[2001:db8::1]", "2001:db8::1"},
		{"127.0.0.1", "2001:db8::1", "2001:db8::1"},
		{"127.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"},
		{"127.0.0.1", "fe80::1%eth0", "fe80::1"},
		{"127.0.0.1", "\t198.51.100.7 ", "198.51.100.7"},
		{"::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"},
		{"192.168.0.9", "198.51.100.7", "198.51.100.7"},
		{"fd12::1%eth0", "198.51.100.7", "198.51.100.7"},
	} {
		var headers [][]byte
		if c.forwarded != "" {
			for header := range strings.SplitSeq(c.forwarded, "|") {
				headers = append(headers, []byte(header))
			}
		}
		if got := proxies.client(netip.MustParseAddr(c.peer), headers...); got.String() != c.want {
			t.Errorf("peer %s, forwarded %q: client %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
	if got := new(Proxies).client(netip.MustParseAddr("127.0.0.1"), []byte("198.51.100.7")); got.String() != "127.0.0.1" {
		t.Errorf("without trusted proxies the client is %s", got)
	}
}
