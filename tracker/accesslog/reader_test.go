package accesslog

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var cmpAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// readAll returns what a log holds, and the causes of the lines that could not be read.
func readAll(t *testing.T, r io.Reader, f Format) (all []Request, causes []string) {
	t.Helper()
	lr, err := NewReader(r, f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		q, err := lr.Next()
		var bad *LineError
		switch {
		case err == io.EOF:
			if got := int64(len(all) + len(causes)); got != lr.Lines() {
				t.Errorf("%d lines returned, Lines() = %d", got, lr.Lines())
			}
			return all, causes
		case errors.As(err, &bad):
			if bad.Line != lr.Lines() {
				t.Errorf("error of line %d at line %d", bad.Line, lr.Lines())
			}
			causes = append(causes, bad.Cause)
		case err != nil:
			t.Fatal(err)
		default:
			all = append(all, q)
		}
	}
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func TestLines(t *testing.T) {
	addr := netip.MustParseAddr("203.0.113.7")
	get := func(change func(*Request)) Request {
		q := Request{Time: noon, Addr: addr, Method: "GET", Target: "/a?b=1", Status: 200,
			Referrer: "https://ref.example/x", UserAgent: "Mozilla/5.0 (X11)", AgentKnown: true}
		change(&q)
		return q
	}
	same := func(*Request) {}
	bare := func(q *Request) { q.Referrer, q.UserAgent, q.AgentKnown = "", "", false }
	for name, c := range map[string]struct {
		line string
		want Request
	}{
		"combined": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://ref.example/x" "Mozilla/5.0 (X11)"`, get(same)},
		"further fields": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://ref.example/x" "Mozilla/5.0 (X11)" "198.51.100.1" rt=0.1`,
			get(same)},
		"common":       {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`, get(bare)},
		"no size":      {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 -`, get(bare)},
		"HTTP/0.9":     {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1" 200 512`, get(bare)},
		"user":         {`203.0.113.7 - Jo Q. Public [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`, get(bare)},
		"zone":         {`203.0.113.7 - - [02/Mar/2026:17:30:00 +0530] "GET /a?b=1 HTTP/1.1" 200 512`, get(bare)},
		"mapped":       {`::ffff:203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`, get(bare)},
		"address+port": {`203.0.113.7:4711 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`, get(bare)},
		"IPv6": {`2001:db8::7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`,
			get(func(q *Request) { bare(q); q.Addr = netip.MustParseAddr("2001:db8::7") })},
		"vhost": {`www.Shop.example:443 203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512 "https://ref.example/x" "Mozilla/5.0 (X11)"`,
			get(func(q *Request) { q.Host = "www.shop.example" })},
		"vhost is an address": {`192.0.2.1:80 203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`,
			get(func(q *Request) { bare(q); q.Host = "192.0.2.1" })},
		"vhost is IPv6": {`[2001:db8::1]:80 203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a?b=1 HTTP/1.1" 200 512`,
			get(func(q *Request) { bare(q); q.Host = "[2001:db8::1]" })},
		"absolute target": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET HTTP://Other.example:80?b=1 HTTP/1.1" 200 512`,
			get(func(q *Request) { bare(q); q.Host, q.Target = "other.example", "/?b=1" })},
		"nothing sent": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "-" 408 0 "-" "-"`,
			get(func(q *Request) { bare(q); q.AgentKnown, q.Method, q.Target, q.Status = true, "", "", 408 })},
		"TLS to a plain port": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "\x16\x03\x01" 400 226 "-" "-"`,
			get(func(q *Request) { bare(q); q.AgentKnown, q.Method, q.Target, q.Status = true, "", "", 400 })},
		"space in target": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /a b HTTP/1.1" 200 512`,
			get(func(q *Request) { bare(q); q.Target = "/a b" })},
		"Apache escapes": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /\"x\"\\\t HTTP/1.1" 200 512 "-" "a \"b\" \xc3\xa4 \q"`,
			get(func(q *Request) { q.Target, q.Referrer, q.UserAgent = "/\"x\"\\\t", "", `a "b" ä q` })},
		"nginx escapes": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /\x22x\x5C HTTP/1.1" 200 512 "-" "\xFF\xZZ"`,
			get(func(q *Request) { q.Target, q.Referrer, q.UserAgent = `/"x\`, "", "\ufffdxZZ" })},
		"not UTF-8": {"203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] \"GET /a\xff HTTP/1.1\" 200 512",
			get(func(q *Request) { bare(q); q.Target = "/a\ufffd" })},
		"Caddy": {`{"level":"info","ts":1772452800.25,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"198.51.100.1","remote_port":"5","client_ip":"203.0.113.7",` +
			`"proto":"HTTP/2.0","method":"GET","host":"Shop.example:8443","uri":"/a?b=1","headers":{"User-Agent":["Mozilla/5.0 (X11)"],"Referer":["https://ref.example/x"],` +
			`"Accept-Language":["de, en"],"Sec-Purpose":["prefetch"],"Dnt":["1"]}},"duration":0.001,"size":9,"status":200,"resp_headers":{"Content-Type":["text/html; charset=utf-8"]}}`,
			get(func(q *Request) {
				q.Time = noon.Add(250 * time.Millisecond)
				q.Host, q.Language, q.Purpose, q.DNT = "shop.example", "de, en", "prefetch", true
				q.ContentType = "text/html; charset=utf-8"
			})},
		"Caddy before 2.5": {`{"ts":1772452800,"request":{"remote_addr":"203.0.113.7:99","method":"GET","host":"shop.example","uri":"/a?b=1","headers":{"User-Agent":"Mozilla/5.0 (X11)"}},"status":200}`,
			get(func(q *Request) { q.Host, q.Referrer = "shop.example", "" })},
		"Caddy, flat, text time": {`{"ts":"2026/03/02 12:00:00.000","remote_ip":"203.0.113.7","method":"GET","host":"shop.example","uri":"/a?b=1","status":200}`,
			get(func(q *Request) { bare(q); q.Host, q.AgentKnown = "shop.example", true })},
		"Caddy, milliseconds": {`{"ts":1772452800000,"request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/a?b=1"},"status":200}`,
			get(func(q *Request) { bare(q); q.AgentKnown = true })},
		"Caddy, iso8601": {`{"ts":"2026-03-02T13:00:00.000+0100","request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/a?b=1"},"status":200}`,
			get(func(q *Request) { bare(q); q.AgentKnown = true })},
	} {
		t.Run(name, func(t *testing.T) {
			all, causes := readAll(t, strings.NewReader(c.line), Auto)
			if len(all) != 1 {
				t.Fatalf("not read: %v", causes)
			}
			all[0].Time = all[0].Time.UTC()
			if d := cmp.Diff(c.want, all[0], cmpAddr); d != "" {
				t.Errorf("wrong (-want +got):\n%s", d)
			}
		})
	}
}

func TestUnreadableLines(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want cause
	}{
		"empty":            {"", causeEmpty},
		"spaces":           {"   ", causeLayout},
		"words":            {"no log at all", causeLayout},
		"host name":        {`client.example - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1`, causeAddress},
		"month":            {`203.0.113.7 - - [02/Mär/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1`, causeTime},
		"30 February":      {`203.0.113.7 - - [30/Feb/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1`, causeTime},
		"no zone":          {`203.0.113.7 - - [02/Mar/2026:12:00:00] "GET / HTTP/1.1" 200 1`, causeTime},
		"open request":     {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1 200 1`, causeLayout},
		"escaped quote":    {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1\" 200 1`, causeLayout},
		"no status":        {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" - 1`, causeStatus},
		"long status":      {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 2000 1`, causeStatus},
		"status is last":   {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200`, causeStatus},
		"open referrer":    {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "https://`, causeCutShort},
		"no agent":         {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "-"`, causeCutShort},
		"open agent":       {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozil`, causeCutShort},
		"agent ends in \\": {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozil\`, causeCutShort},
		"relative target":  {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET a HTTP/1.1" 200 1`, causeTarget},
		"NUL":              {"203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] \"GET /\x00 HTTP/1.1\" 200 1", causeNUL},
		"too long":         {`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET /` + strings.Repeat("a", 3*MaxLine) + ` HTTP/1.1" 200 1`, causeTooLong},
		"half JSON":        {`{"ts":1,"request":{`, causeLayout},
		"another JSON":     {`{"level":"info","msg":"serving initial configuration"}`, causeLayout},
		"JSON request":     {`{"ts":1,"status":200,"request":"GET / HTTP/1.1"}`, causeLayout},
		"JSON no address":  {`{"ts":1772452800,"request":{"method":"GET","uri":"/"},"status":200}`, causeAddress},
		"JSON no time":     {`{"request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/"},"status":200}`, causeTime},
		"JSON bad time":    {`{"ts":"noon","request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/"},"status":200}`, causeTime},
		"JSON huge time":   {`{"ts":1e300,"request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/"},"status":200}`, causeTime},
		"JSON no status":   {`{"ts":1772452800,"request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/"}}`, causeStatus},
		"JSON no target":   {`{"ts":1772452800,"request":{"remote_ip":"203.0.113.7","method":"GET","uri":""},"status":200}`, causeTarget},
	} {
		t.Run(name, func(t *testing.T) {
			// The line between two good ones: the Reader must find its way back.
			good := `203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1`
			all, causes := readAll(t, strings.NewReader(good+"\n"+c.line+"\r\n"+good+"\n"), Auto)
			if d := cmp.Diff([]string{string(c.want)}, causes); d != "" {
				t.Errorf("wrong cause (-want +got):\n%s", d)
			}
			if len(all) != 2 {
				t.Errorf("%d of 2 good lines read", len(all))
			}
		})
	}
}

const (
	commonLine   = `203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 1`
	combinedLine = commonLine + ` "-" "A"`
	caddyLine    = `{"ts":1772452800,"request":{"remote_ip":"203.0.113.7","method":"GET","uri":"/"},"status":200}`
)

func TestFormats(t *testing.T) {
	lines := map[Format]string{
		Common: commonLine, Combined: combinedLine, VHostCommon: "a.example:80 " + commonLine,
		VHostCombined: "a.example:80 " + combinedLine, Caddy: caddyLine,
	}
	for want := range formats {
		if f, err := ParseFormat(want.String()); f != want || err != nil {
			t.Errorf("ParseFormat(%q) = %v, %v", want.String(), f, err)
		}
		for is, line := range lines {
			all, causes := readAll(t, strings.NewReader(line), want)
			if ok := want == Auto || want == is; ok != (len(all) == 1) {
				t.Errorf("%s line read as %s: %d requests, %v", is, want, len(all), causes)
			}
		}
	}
	if _, err := ParseFormat("iis"); err == nil {
		t.Error("an unknown format is accepted")
	}
	if f, err := ParseFormat(""); f != Auto || err != nil {
		t.Errorf("the empty format is %v, %v", f, err)
	}
}

func TestLineWithoutAgentAmongOthersIsCutShort(t *testing.T) {
	all, causes := readAll(t, strings.NewReader(commonLine+"\n"+combinedLine+"\n"+commonLine+"\n"), Auto)
	if d := cmp.Diff([]string{string(causeCutShort)}, causes); d != "" || len(all) != 2 {
		t.Errorf("%d read, causes (-want +got):\n%s", len(all), d)
	}
}

func TestCompressionAndLineEnds(t *testing.T) {
	plain := "\xef\xbb\xbf" + strings.Repeat(combinedLine+"\n", 3) + caddyLine
	var twoMembers bytes.Buffer
	for _, part := range []string{plain[:100], plain[100:]} {
		z := gzip.NewWriter(&twoMembers)
		io.WriteString(z, part)
		z.Close()
	}
	for name, r := range map[string]io.Reader{
		"plain":      strings.NewReader(plain),
		"bytewise":   iotest.OneByteReader(strings.NewReader(plain)),
		"gzip":       bytes.NewReader(twoMembers.Bytes()),
		"gzip bytes": iotest.OneByteReader(bytes.NewReader(twoMembers.Bytes())),
	} {
		lr, err := NewReader(r, Auto)
		if err != nil {
			t.Fatal(name, err)
		}
		n := 0
		for ; err == nil; n++ {
			_, err = lr.Next()
		}
		if err != io.EOF || n-1 != 4 || lr.Lines() != 4 || lr.Bytes() != int64(len(plain)) {
			t.Errorf("%s: %d lines, %d bytes, %v", name, n-1, lr.Bytes(), err)
		}
	}
	for _, n := range []int{2, 5, 30, twoMembers.Len() - 6} { // in the header twice, in the content, in the trailer
		lr, err := NewReader(bytes.NewReader(twoMembers.Bytes()[:n]), Auto)
		for err == nil {
			_, err = lr.Next()
		}
		if !errors.Is(err, ErrCutOff) {
			t.Errorf("gzip cut off after %d bytes: %v", n, err)
		}
	}
	if _, err := NewReader(strings.NewReader("\x1f\x8bXXXXXXXXXX"), Auto); err == nil {
		t.Error("a damaged gzip header is accepted")
	}
	if _, err := NewReader(strings.NewReader(""), Auto); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}

func TestErrorsOfTheSourceAreFinal(t *testing.T) {
	broken := errors.New("broken")
	for _, head := range []string{"", combinedLine, combinedLine + "\n", strings.Repeat("x", 2*MaxLine)} {
		lr, err := NewReader(io.MultiReader(strings.NewReader(head), iotest.ErrReader(broken)), Auto)
		for n := 0; err == nil && n < 10; n++ {
			if _, err = lr.Next(); err != nil && errors.As(err, new(*LineError)) {
				err = nil
			}
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %.10q: %v", head, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, line := range []string{commonLine, combinedLine, caddyLine, "a.example:80 " + combinedLine,
		`203.0.113.7 - - [02/Mar/2026:12:00:00 +0000] "GET http://a.example?x\x22 HTTP/1.1" 200 1 "-" "\\"`} {
		f.Add([]byte(line+"\n"+line), byte(Auto))
	}
	f.Fuzz(func(t *testing.T, log []byte, format byte) {
		lr, err := NewReader(bytes.NewReader(log), Format(format)%formats)
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			if n > len(log)+1 && !bytes.HasPrefix(log, []byte("\x1f\x8b")) {
				t.Fatal("more lines than bytes")
			}
			q, err := lr.Next()
			var bad *LineError
			if errors.As(err, &bad) {
				continue
			}
			if err != nil {
				return
			}
			if !q.Addr.IsValid() || q.Addr.Zone() != "" || q.Time.IsZero() {
				t.Fatalf("read without address or time: %+v", q)
			}
			for _, s := range []string{q.Host, q.Target, q.Referrer, q.UserAgent, q.Method} {
				if strings.ToValidUTF8(s, "") != s {
					t.Fatalf("not UTF-8: %q", s)
				}
			}
			if v := q.Judge(); v == Page && q.Target[0] != '/' {
				t.Fatalf("page without a path: %+v", q)
			}
		}
	})
}
