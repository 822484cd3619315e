package tracker

import (
	"net/netip"
	"strings"
	"testing"
)

// proxiesAt trusts networks and one header.
func proxiesAt(header string, networks ...string) *Proxies {
	p := &Proxies{header: header}
	for _, network := range networks {
		p.networks = append(p.networks, netip.MustParsePrefix(network))
	}
	return p
}

func split(lines string) (values [][]byte) {
	for line := range strings.SplitSeq(lines, "|") {
		values = append(values, []byte(line))
	}
	return values
}

func TestForwarded(t *testing.T) {
	proxies := proxiesAt(forwardedHeader, "127.0.0.1/32", "10.0.0.0/8", "fd00::/8")
	for _, c := range []struct{ peer, forwarded, want string }{ // headers are separated by |
		{"203.0.113.1", `for=198.51.100.7`, "203.0.113.1"}, // not from a proxy
		{"127.0.0.1", ``, "127.0.0.1"},
		{"127.0.0.1", `for=198.51.100.7`, "198.51.100.7"},
		{"127.0.0.1", `For=198.51.100.7`, "198.51.100.7"},
		{"127.0.0.1", `for="198.51.100.7"`, "198.51.100.7"},
		{"127.0.0.1", `for=198.51.100.7:4711`, "198.51.100.7"},
		{"127.0.0.1", `for="198.51.100.7:_port"`, "198.51.100.7"},
		{"127.0.0.1", `for="[2001:db8:cafe::17]:4711"`, "2001:db8:cafe::17"},
		{"127.0.0.1", `for="[2001:db8:cafe::17]"`, "2001:db8:cafe::17"},
		{"127.0.0.1", `for="[::ffff:198.51.100.7]:1"`, "198.51.100.7"},
		{"127.0.0.1", `for=[2001:db8::1]`, "2001:db8::1"}, // against the letter; who wrote it is trusted
		{"127.0.0.1", `for="[2001:db8::1"`, "127.0.0.1"},
		{"127.0.0.1", `for="[2001:db8::1]x"`, "127.0.0.1"},
		{"127.0.0.1", `proto=https;for=198.51.100.7;by=10.0.0.1`, "198.51.100.7"},
		{"127.0.0.1", `proto=https; for=198.51.100.7 ;by="[fd00::1]:80"`, "198.51.100.7"},
		{"127.0.0.1", `for=198.51.100.7;host="a;b,c=\"for=1.2.3.4\""`, "198.51.100.7"},
		{"127.0.0.1", `for=198.51.100.7;host="a\",b"`, "198.51.100.7"},
		{"127.0.0.1", `host="a\\",for=198.51.100.7`, "198.51.100.7"},
		{"127.0.0.1", `for=198.51.100.7;host="x\\"`, "198.51.100.7"},
		{"127.0.0.1", `for=198.51.100.7;`, "198.51.100.7"},
		{"127.0.0.1", `for=1.2.3.4, for=198.51.100.7`, "198.51.100.7"},
		{"127.0.0.1", `for=1.2.3.4|for=198.51.100.7`, "198.51.100.7"},
		{"127.0.0.1", `for=1.2.3.4, for=198.51.100.7;proto=https, for=10.1.1.1`, "198.51.100.7"},
		{"127.0.0.1", `for=1.2.3.4|for=198.51.100.7, for=10.1.1.1|for="[fd00::2]"`, "198.51.100.7"},
		{"127.0.0.1", `for=10.0.0.5, for=10.0.0.6`, "10.0.0.5"},
		{"127.0.0.1", `for=unknown`, "127.0.0.1"},
		{"127.0.0.1", `for=_hidden`, "127.0.0.1"},
		{"127.0.0.1", `for="_gazonk"`, "127.0.0.1"},
		{"127.0.0.1", `for=198.51.100.7, for=unknown`, "127.0.0.1"},
		{"127.0.0.1", `for=198.51.100.7, for=_hidden, for=10.1.1.1`, "10.1.1.1"},
		{"127.0.0.1", `for=198.51.100.7, proto=https`, "127.0.0.1"}, // a proxy that says nothing of the client
		{"127.0.0.1", `for=198.51.100.7,`, "127.0.0.1"},
		{"127.0.0.1", `for=198.51.100.7;for=1.2.3.4`, "127.0.0.1"},
		{"127.0.0.1", `198.51.100.7`, "127.0.0.1"},
		{"127.0.0.1", `for=198.51.100.7 proto`, "127.0.0.1"},
		{"127.0.0.1", `for=`, "127.0.0.1"},
		{"127.0.0.1", `for=""`, "127.0.0.1"},
		{"127.0.0.1", `for="198.51.100.7`, "127.0.0.1"},
		// What a client opens and does not close does not reach over what the proxy appends.
		{"127.0.0.1", `for="1.2.3.4, for=198.51.100.7`, "198.51.100.7"},
		{"127.0.0.1", `for=1.2.3.4;x=", for="[2001:db8::1]:80"`, "2001:db8::1"},
		{"127.0.0.1", `for="1.2.3.4\", for="[2001:db8::1]"`, "2001:db8::1"},
	} {
		if got := proxies.client(netip.MustParseAddr(c.peer), split(c.forwarded)...); got.String() != c.want {
			t.Errorf("peer %s, Forwarded %q: client %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestOneConfiguredHeader(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"198.51.100.7", "198.51.100.7"},
		{"2001:db8::1", "2001:db8::1"},
		{"1.2.3.4|198.51.100.7", "198.51.100.7"}, // the client's own, and that of a proxy that appends
		{"1.2.3.4, 198.51.100.7", "198.51.100.7"},
		{"", "127.0.0.1"},
		{"nobody", "127.0.0.1"},
	} {
		proxies := proxiesAt("Cf-Connecting-Ip", "127.0.0.1/32")
		if got := proxies.client(netip.MustParseAddr("127.0.0.1"), split(c.value)...); got.String() != c.want {
			t.Errorf("%q: client %s, want %s", c.value, got, c.want)
		}
	}
	for name, want := range map[string]string{"": "X-Forwarded-For", " forwarded ": "Forwarded", "cf-connecting-ip": "Cf-Connecting-Ip",
		"X-Real-IP": "X-Real-Ip", "a b": "", "X:": "", "ä": "", "x\r\ny": "", "a,b": ""} {
		got, err := CleanClientHeader(name)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("name %q: %q, %v", name, got, err)
		}
	}
}

// TestOnlyTheConfiguredHeaderIsRead sends a different address in each header, over HTTP.
func TestOnlyTheConfiguredHeaderIsRead(t *testing.T) {
	all := []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2", "X-Real-IP: 192.0.2.3", "CF-Connecting-IP: 192.0.2.4"}
	c := newCounting(t)
	for header, want := range map[string]string{"": "192.0.2.1", "Forwarded": "192.0.2.2",
		"X-Real-Ip": "192.0.2.3", "Cf-Connecting-Ip": "192.0.2.4", "True-Client-Ip": "0.0.0.0"} {
		before := c.counts()[""]
		c.tracker.proxies.header = header
		c.hit(`{"n":"pageview","u":"https://example.com/","d":"example.com"}`, all...)
		// The visitor is known by that address alone: a second hit of the same adds none, one of another does.
		c.tracker.proxies.header = "X-Test"
		c.hit(`{"n":"pageview","u":"https://example.com/","d":"example.com"}`, "X-Test: "+want)
		before[0], before[1], before[2], before[3] = before[0]+1, before[1]+1, before[2]+2, before[3]+2
		c.expect(before)
	}
}

// FuzzForwarded writes what it likes to the left of what a proxy appends: the client stays whom the proxy saw.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{``, `for=1.2.3.4`, `for="[::1]:80";proto=http, for=_x`, `for="1.2.3.4`, `x="\`, `"\"`, `a\\"`, `,;="`, `for=1.2.3.4;x="`} {
		f.Add(s, s)
	}
	trusted := netip.MustParseAddr("127.0.0.1")
	appended := []struct{ entry, want string }{
		{`for=198.51.100.7`, "198.51.100.7"},
		{`for="[2001:db8::1]:4711";proto=https`, "2001:db8::1"},
		{`by=10.0.0.1;host="a,\"b\\;";for="198.51.100.7"`, "198.51.100.7"},
		{`proto=https`, "127.0.0.1"},
		{`for=unknown`, "127.0.0.1"},
	}
	f.Fuzz(func(t *testing.T, client, line string) {
		standard, list := proxiesAt(forwardedHeader, "127.0.0.1/32"), proxiesAt("", "127.0.0.1/32")
		standard.client(trusted, []byte(line), []byte(client)) // does not panic
		for _, a := range appended {
			for _, values := range [][][]byte{{[]byte(line), []byte(client + ", " + a.entry)}, {[]byte(client), []byte(a.entry)}} {
				if got := standard.client(trusted, values...); got.String() != a.want {
					t.Errorf("Forwarded %q: client %s, want %s", values, got, a.want)
				}
			}
		}
		if got := list.client(trusted, []byte(line), []byte(client+", 198.51.100.7")); got.String() != "198.51.100.7" {
			t.Errorf("X-Forwarded-For %q, then one: client %s", client, got)
		}
	})
}

func TestClientDoesNotAllocateMuch(t *testing.T) {
	peer, value := netip.MustParseAddr("127.0.0.1"), []byte("198.51.100.7, 10.0.0.1")
	for _, proxies := range []*Proxies{proxiesAt("", "127.0.0.1/32", "10.0.0.0/8"), proxiesAt(forwardedHeader, "127.0.0.1/32")} {
		if proxies.header != "" {
			value = []byte(`for="[2001:db8::1]:80";proto=https`)
		}
		if n := testing.AllocsPerRun(100, func() { proxies.client(peer, value) }); n > 2 { // the text of each entry
			t.Errorf("%v: %v allocations", proxies, n)
		}
	}
}
