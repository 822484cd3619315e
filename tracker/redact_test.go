package tracker

import (
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"dachs/storage"
)

// corpus returns the lines of testdata/redact.txt, each an input and what is counted of it.
func corpus(t testing.TB) [][2]string {
	t.Helper()
	text, err := os.ReadFile("testdata/redact.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][2]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		in, want, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("line %q has no tab", line)
		}
		lines = append(lines, [2]string{in, want})
	}
	if len(lines) < 300 {
		t.Fatalf("the corpus has %d lines", len(lines))
	}
	return lines
}

// marksIn returns how many marks of each kind stand in a text and not in the one that it was made of.
func marksIn(text, origin string) (n Replaced) {
	for i, mark := range marks {
		n[i] = uint16(strings.Count(text, mark) - strings.Count(origin, mark))
	}
	return n
}

func TestRedactCorpus(t *testing.T) {
	for _, line := range corpus(t) {
		in, want := line[0], line[1]
		var n Replaced
		clean := cleanValue
		if strings.HasPrefix(in, "/") {
			clean = cleanPath
		}
		got := clean(in, &n)
		if got != want {
			t.Errorf("%s\n is %s\nwant %s", in, got, want)
			continue
		}
		if again := clean(got, new(Replaced)); again != got {
			t.Errorf("%q is %q, and that cleaned again %q", in, got, again)
		}
		if n != marksIn(got, in) {
			t.Errorf("%q: counted %v", got, n)
		}
	}
}

// What is replaced in a property is replaced in a referrer, a tag, a query that is kept, and the name of an event too.
func TestRedactEverywhere(t *testing.T) {
	e := newEnricher(t)
	site := storage.Site{}
	site.Settings.Query = []string{"q"}
	for _, line := range corpus(t) {
		in, want := line[0], line[1]
		if strings.HasPrefix(in, "/") || strings.Contains(in, "://") || len(in) > maxKeptValue {
			continue
		}
		value := url.QueryEscape(in)
		client := germanChrome()
		hit, reason, err := e.Enrich(&Payload{
			Name: in, URL: "https://example.com/p?q=" + value + "&utm_campaign=" + value + "&utm_term=" + value + "#" + in,
			Referrer: "https://other.example/" + url.PathEscape(in), Props: []Prop{{in, in}},
		}, &client, &site)
		if reason != Accepted || err != nil {
			t.Fatal(in, reason, err)
		}
		var query strings.Builder
		writeParameter(&query, want)
		for _, c := range [][2]string{{hit.Name, want}, {hit.Path, "/p?q=" + query.String()}, {hit.Origin.UTMCampaign, want}, {hit.Origin.UTMTerm, want},
			{hit.Props, encodeProps([]Prop{{want, want}}, new(Replaced))}} {
			if c[0] != c[1] {
				t.Errorf("%q is %q, want %q", in, c[0], c[1])
			}
		}
		if in != want && strings.Contains(hit.Origin.Referrer, in) {
			t.Errorf("%q is in the referrer %q", in, hit.Origin.Referrer)
		}
		if one := marksIn(want, in); one != (Replaced{}) {
			for i := range one {
				if hit.Replaced[i] < 6*one[i] {
					t.Errorf("%q: %d of kind %v counted in 7 places", in, hit.Replaced[i], replacement(i))
				}
			}
		}
	}
}

// Of what random generators make, next to nothing may be left whole; of words that are put together nothing is replaced.
func TestRandomTokens(t *testing.T) {
	const (
		base62    = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		base36    = "0123456789abcdefghijklmnopqrstuvwxyz"
		crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	)
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name, alphabet string
		length, most   int // of 1,000 that may be left
	}{
		{"base62", base62, 22, 40},
		{"base62", base62, 32, 12},
		{"nanoid", base62 + "-_", 21, 80},
		{"base64 of 128 bits", base62 + "-_", 22, 60},
		{"base64 of 256 bits", base62 + "-_", 43, 10},
		{"base36", base36, 25, 50},
		{"ulid", crockford, 26, 30},
		{"hexadecimal", "0123456789abcdef", 32, 0},
		{"hexadecimal", "0123456789abcdef", 16, 100},
		{"digits", "0123456789", 20, 0},
	} {
		left := 0
		for range 1000 {
			b := make([]byte, c.length)
			for i := range b {
				b[i] = c.alphabet[r.IntN(len(c.alphabet))]
			}
			if in := "/reset/" + string(b); redact(in, new(Replaced)) == in {
				left++
			}
		}
		t.Logf("%s of %d: %d of 1,000 left", c.name, c.length, left)
		if left > c.most {
			t.Errorf("%s of %d: %d of 1,000 are left, want at most %d", c.name, c.length, left, c.most)
		}
	}
}

// plainEmail is what nobody could take for anything else.
var plainEmail = regexp.MustCompile(`[a-z0-9]@[a-z][a-z0-9]*\.[a-z]{2}`)

func FuzzRedact(f *testing.F) {
	for _, line := range corpus(f) {
		f.Add(line[0])
	}
	f.Add("/a@1.2.b@example.com")
	f.Add("a@2x.b@example.com")
	f.Fuzz(func(t *testing.T, s string) {
		s = s[:min(len(s), maxPropValue)]
		for name, clean := range map[string]func(string, *Replaced) string{
			"path": cleanPath, "value": cleanValue, "text": redact,
			"tag": func(s string, n *Replaced) string { return cleanParameter(url.QueryEscape(s), maxTag, n) },
		} {
			once := clean(s, new(Replaced))
			var n Replaced
			if again := clean(once, &n); again != once {
				t.Errorf("%s: %q is %q, and that cleaned again %q", name, s, once, again)
			}
			if n != (Replaced{}) {
				t.Errorf("%s: %q is counted again: %v", name, once, n)
			}
			if mail := plainEmail.FindString(once); mail != "" {
				t.Errorf("%s: %q leaves %q", name, s, mail)
			}
		}
	})
}

func TestPrefixInitials(t *testing.T) {
	for _, prefix := range append(secretPrefixes[:len(secretPrefixes):len(secretPrefixes)], objectPrefixes...) {
		if !strings.Contains(prefixInitials, prefix[:1]) {
			t.Errorf("%q would never be found", prefix)
		}
	}
}

func BenchmarkRedact(b *testing.B) {
	for _, in := range []string{"/blog/a-post", "/2024/01/31/some-long-title-of-a-post", "/a-very-long-title-of-a-blog-post-about-nothing",
		"/p/Apple-iPhone-15-Pro-256-GB", "/o/550e8400-e29b-41d4-a716-446655440000"} {
		b.Run(in, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				redact(in, new(Replaced))
			}
		})
	}
}
