package tracker

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fastjson"
)

// decoded is a page view of example.com, changed by with.
func decoded(with func(*Payload)) Payload {
	p := Payload{Name: "pageview", URL: "https://example.com/a", Domain: "example.com", Interactive: true, Scroll: -1}
	if with != nil {
		with(&p)
	}
	return p
}

func TestDecode(t *testing.T) {
	const min = `"n":"pageview","u":"https://example.com/a"`
	manyProps, kept := []string(nil), []Prop(nil)
	for i := range maxProps + 5 {
		manyProps = append(manyProps, fmt.Sprintf(`"k%02d":%d`, i, i))
		if i < maxProps {
			kept = append(kept, Prop{fmt.Sprintf("k%02d", i), fmt.Sprint(i)})
		}
	}
	for _, c := range []struct {
		body string
		want Payload
	}{
		{`{` + min + `}`, decoded(nil)},
		{`{"name":"pageview","url":"https://example.com/a","domain":"example.com"}`, decoded(nil)},
		{` {"v":36,"w":1920,"unknown":{"x":[1,{"y":2}]},` + min + `} `, decoded(func(p *Payload) { p.Width = 1920 })},
		{`{"n":" Sign up ","u":"https://example.com/a"}`, decoded(func(p *Payload) { p.Name = "Sign up" })},
		{`{"n":404,"u":"https://example.com/a"}`, decoded(func(p *Payload) { p.Name = "404" })},
		{`{"n":"a\u0000b\nc","u":"https://example.com/a"}`, decoded(func(p *Payload) { p.Name = "a b c" })},
		{"{\"n\":\"a\xffb\",\"u\":\"https://example.com/a\"}", decoded(func(p *Payload) { p.Name = "a\uFFFDb" })},
		{`{"n":"` + strings.Repeat("ä", 120) + `","u":"https://example.com/a"}`, decoded(func(p *Payload) { p.Name = strings.Repeat("ä", 120) })},
		{`{` + min + `,"d":"a.example, b.example"}`, decoded(func(p *Payload) { p.Domain = "a.example, b.example" })},
		{`{` + min + `,"d":""}`, decoded(nil)},
		{`{` + min + `,"d":null}`, decoded(nil)},
		{`{"n":"pageview","u":" https://www.Example.com:80/a#secret "}`, decoded(func(p *Payload) { p.URL = "https://www.Example.com:80/a#secret" })},
		{`{"n":"pageview","u":"https://example.com/a#/b","h":1}`, decoded(func(p *Payload) { p.URL += "#/b"; p.HashMode = true })},
		{`{"n":"pageview","u":"https://example.com/a#/b","hashMode":true}`, decoded(func(p *Payload) { p.URL += "#/b"; p.HashMode = true })},
		{`{"n":"pageview","u":"https://example.com/a#/b","h":0}`, decoded(func(p *Payload) { p.URL += "#/b" })}, // a site may ask for routes
		{`{"n":"pageview","u":"https://example.com/a#` + strings.Repeat("y", maxURL) + `"}`, decoded(func(p *Payload) { p.URL += "#" + strings.Repeat("y", maxURL-22) })},
		{`{` + min + `,"w":"390","language":"de-AT"}`, decoded(func(p *Payload) { p.Width = 390; p.Language = "de-AT" })},
		{`{` + min + `,"w":0,"language":5}`, decoded(nil)},
		{`{` + min + `,"w":20001,"language":null}`, decoded(nil)},
		{`{` + min + `,"w":"wide","language":"` + strings.Repeat("x", 100) + `"}`, decoded(func(p *Payload) { p.Language = strings.Repeat("x", maxLanguage) })},
		{`{` + min + `,"r":"https://other.example/"}`, decoded(func(p *Payload) { p.Referrer = "https://other.example/" })},
		{`{` + min + `,"r":null,"referrer":"https://other.example/"}`, decoded(func(p *Payload) { p.Referrer = "https://other.example/" })},
		{`{` + min + `,"r":5}`, decoded(nil)},
		{`{` + min + `,"r":"https://o.example/` + strings.Repeat("ä", 2000) + `"}`, decoded(func(p *Payload) { p.Referrer = "https://o.example/" + strings.Repeat("ä", 991) })},
		// Only a literal false takes the hit out of the bounce rate.
		{`{` + min + `,"i":false}`, decoded(func(p *Payload) { p.Interactive = false })},
		{`{` + min + `,"interactive":false}`, decoded(func(p *Payload) { p.Interactive = false })},
		{`{` + min + `,"i":null,"interactive":false}`, decoded(func(p *Payload) { p.Interactive = false })},
		{`{` + min + `,"i":0}`, decoded(nil)},
		{`{` + min + `,"i":"false"}`, decoded(nil)},
		// Properties.
		{`{` + min + `,"p":{"b":"x","a":1.50,"t":true,"n":null,"l":[1],"o":{},"e":"","s":"  "}}`,
			decoded(func(p *Payload) { p.Props = []Prop{{"b", "x"}, {"a", "1.50"}, {"t", "true"}} })},
		{`{` + min + `,"props":"{\"plan\":\"pro\"}"}`, decoded(func(p *Payload) { p.Props = []Prop{{"plan", "pro"}} })},
		{`{` + min + `,"m":{"plan":"pro"}}`, decoded(func(p *Payload) { p.Props = []Prop{{"plan", "pro"}} })},
		{`{` + min + `,"meta":" "}`, decoded(nil)},
		{`{` + min + `,"p":{` + strings.Join(manyProps, ",") + `}}`, decoded(func(p *Payload) { p.Props = kept })},
		// Revenue.
		{`{` + min + `,"$":{"amount":12.5,"currency":"eur"}}`, decoded(func(p *Payload) { p.Revenue = Money{1250, "EUR"} })},
		{`{` + min + `,"revenue":{"amount":"0.29","currency":"USD"}}`, decoded(func(p *Payload) { p.Revenue = Money{29, "USD"} })},
		{`{` + min + `,"$":{"amount":"1,299.00","currency":"USD"}}`, decoded(nil)},
		{`{` + min + `,"$":{"amount":1,"currency":"ABC"}}`, decoded(nil)},
		{`{` + min + `,"$":{"amount":1}}`, decoded(nil)},
		{`{` + min + `,"$":17}`, decoded(nil)},
		// Engagement.
		{`{"n":"engagement","u":"https://example.com/a","e":3000,"sd":"55"}`, decoded(func(p *Payload) { p.Name = "engagement"; p.Engaged = 3000; p.Scroll = 55 })},
		{`{"n":"engagement","u":"https://example.com/a","sd":250}`, decoded(func(p *Payload) { p.Name = "engagement"; p.Scroll = 100 })},
		{`{"n":"engagement","u":"https://example.com/a","e":"12.7","sd":-1}`, decoded(func(p *Payload) { p.Name = "engagement"; p.Engaged = 12 })},
		{`{` + min + `,"e":3000,"sd":55}`, decoded(nil)},
		// A query that is too long loses parameters from its end.
		{`{"n":"pageview","u":"https://example.com/a?utm_source=x&fbclid=` + strings.Repeat("y", maxURL) + `"}`, decoded(func(p *Payload) { p.URL += "?utm_source=x" })},
		{`{"n":"pageview","u":"https://example.com/a?fbclid=` + strings.Repeat("y", maxURL) + `#/b","h":1}`, decoded(func(p *Payload) { p.URL += "?#/b"; p.HashMode = true })},
	} {
		var parser fastjson.Parser
		var got Payload
		if err := decode(&parser, []byte(c.body), &got); err != nil {
			t.Errorf("%.200s: %v", c.body, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%.200s: (-want +got)\n%s", c.body, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const u = `"u":"https://example.com/a"`
	for _, c := range []struct{ body, field, problem string }{
		{``, "", "not JSON"},
		{`n=pageview`, "", "not JSON"},
		{`{"n":"pageview"`, "", "not JSON"},
		{`[]`, "", "an array"},
		{`null`, "", "null"},
		{`"x"`, "", "a string"},
		{strings.Repeat("[", 100000), "", "nested"},
		{`{"x":` + strings.Repeat(`{"x":`, 20) + `1` + strings.Repeat("}", 21), "", "nested"},
		{`{` + u + `}`, "name", "missing"},
		{`{"n":null,` + u + `}`, "name", "missing"},
		{`{"n":" ",` + u + `}`, "name", "empty"},
		{`{"n":{},` + u + `}`, "name", "an object"},
		{`{"n":true,` + u + `}`, "name", "a boolean"},
		{`{"n":"` + strings.Repeat("ä", 121) + `",` + u + `}`, "name", "121 characters"},
		{`{"n":"pageview"}`, "url", "missing"},
		{`{"n":"pageview","u":5}`, "url", "a number"},
		{`{"n":"pageview","u":"/a"}`, "url", "not the address"},
		{`{"n":"pageview","u":"javascript:alert(1)"}`, "url", "not the address"},
		{`{"n":"pageview","u":"data:text/html,hi"}`, "url", "not the address"},
		{`{"n":"pageview","u":"https://example.com/` + strings.Repeat("a", maxURL) + `"}`, "url", "2048 bytes"},
		{`{"n":"pageview","u":"https://example.com/` + strings.Repeat("a", maxURL) + `?x"}`, "url", "2048 bytes"},
		{`{"n":"pageview",` + u + `,"d":7}`, "domain", "a number"},
		{`{"n":"pageview",` + u + `,"d":"` + strings.Repeat("a", 1001) + `"}`, "domain", "1000 bytes"},
		{`{"n":"x",` + u + `,"p":[1]}`, "props", "an array"},
		{`{"n":"x",` + u + `,"p":"a=b"}`, "props", "not JSON"},
		{`{"n":"x",` + u + `,"p":"[1]"}`, "props", "an array"},
		{`{"n":"x",` + u + `,"p":"` + strings.Repeat("[", 50) + `"}`, "props", "nested"},
		{`{"n":"x",` + u + `,"p":{"` + strings.Repeat("k", 301) + `":1}}`, "props", "key of 301"},
		{`{"n":"x",` + u + `,"p":{"k":"` + strings.Repeat("v", 2001) + `"}}`, "props", "value of 2001"},
		{`{"n":"engagement",` + u + `}`, "e", "missing"},
		{`{"n":"engagement",` + u + `,"e":2592000000,"sd":"x"}`, "e", "out of range"},
	} {
		var parser fastjson.Parser
		var got Payload
		err := decode(&parser, []byte(c.body), &got)
		var wrong *FieldError
		if !errors.As(err, &wrong) || wrong.Field != c.field || !strings.Contains(wrong.Problem, c.problem) {
			t.Errorf("%.100s: error %v, want %s: ...%s...", c.body, err, c.field, c.problem)
		}
	}
}

// What was decoded must not change when the parser and the body are used again.
func TestDecodeCopies(t *testing.T) {
	body := []byte(`{"n":"event","u":"https://example.com/a","d":"example.com","r":"https://other.example/","p":{"key":"value"},"$":{"amount":1,"currency":"EUR"}}`)
	var parser fastjson.Parser
	var got Payload
	if err := decode(&parser, body, &got); err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("%+v", got)
	for i := range body {
		body[i] = 'x'
	}
	_, _ = parser.Parse(`"` + strings.Repeat("y", 1000) + `"`)
	if after := fmt.Sprintf("%+v", got); after != before {
		t.Errorf("payload has become %s, was %s", after, before)
	}
}

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct {
		text   string
		digits int
		want   int64
		ok     bool
	}{
		{"0", 2, 0, true}, {"12", 2, 1200, true}, {"12.5", 2, 1250, true}, {"12.345", 2, 1235, true}, {"12.344", 2, 1234, true},
		{"0.29", 2, 29, true}, {"1.005", 2, 101, true}, {"19.99", 2, 1999, true}, {"-12.5", 2, -1250, true}, {"-0.005", 2, -1, true},
		{".5", 2, 50, true}, {"5.", 2, 500, true}, {"0012.50", 2, 1250, true}, {"100", 0, 100, true}, {"99.5", 0, 100, true},
		{"1.2345", 3, 1235, true}, {"1.25e3", 2, 125000, true}, {"125E-2", 2, 125, true}, {"1e-2", 2, 1, true}, {"5e-3", 2, 1, true},
		{"4e-3", 2, 0, true}, {"9e-9", 2, 0, true}, {"1e15", 2, 100000000000000000, true},
		{"92233720368547758.07", 2, 0, false}, {"1e30", 2, 0, false}, {"1e1000", 2, 0, false}, {"9e99", 2, 0, false}, {strings.Repeat("9", 400), 2, 0, false},
		{"", 2, 0, false}, {".", 2, 0, false}, {"-", 2, 0, false}, {"1.2.3", 2, 0, false}, {"1,5", 2, 0, false}, {"0x10", 2, 0, false},
		{"1e", 2, 0, false}, {"e3", 2, 0, false}, {"NaN", 2, 0, false}, {"Infinity", 2, 0, false}, {"--1", 2, 0, false}, {"+1", 2, 0, false}, {"١", 2, 0, false},
	} {
		if got, ok := parseDecimal(c.text, c.digits, true); ok != c.ok || ok && got != c.want {
			t.Errorf("parseDecimal(%.40q, %d) is %d, %v; want %d, %v", c.text, c.digits, got, ok, c.want, c.ok)
		}
	}
}

func TestMinorDigits(t *testing.T) {
	for currency, want := range map[string]int{"EUR": 2, "USD": 2, "CHF": 2, "JPY": 0, "KRW": 0, "ISK": 0, "KWD": 3, "TND": 3, "CLF": 4, "MGA": 2} {
		if got, ok := minorDigits(currency); !ok || got != want {
			t.Errorf("%s has %d digits (%v), want %d", currency, got, ok, want)
		}
	}
	for _, none := range []string{"", "EU", "EURO", "XXX", "BTC", "EU ", "R U"} {
		if _, ok := minorDigits(none); ok {
			t.Errorf("%q is taken for a currency", none)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"n":"pageview","u":"https://example.com/a?b=c#d","d":"example.com","r":"https://other.example/"}`,
		`{"n":"x","u":"https://example.com/","p":"{\"a\":[1,{}]}","$":{"amount":"1.5e2","currency":"JPY"},"i":false,"h":1}`,
		`{"name":"engagement","url":"app://host/","e":"17","sd":1e2}`, `[[[[`, `{"n":"\ud800","u":"\udc00"}`, "{\"n\":\"\xc3\",\"u\":\"http://\xff/\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var parser fastjson.Parser
		var p Payload
		if err := decode(&parser, body, &p); err != nil {
			if wrong := (*FieldError)(nil); !errors.As(err, &wrong) {
				t.Errorf("error %v is not for people", err)
			}
			return
		}
		if p.Name == "" || utf8.RuneCountInString(p.Name) > maxName || len(p.URL) > maxURL || len(p.Props) > maxProps || len(p.Referrer) > maxReferrer {
			t.Errorf("payload is beyond its limits: %+v", p)
		}
		if p.Scroll < -1 || p.Scroll > 100 || p.Engaged < 0 || p.Revenue.Amount != 0 && p.Revenue.Currency == "" {
			t.Errorf("numbers of %+v", p)
		}
		for _, s := range []string{p.Name, p.URL, p.Domain, p.Referrer, encodeProps(p.Props, new(Replaced))} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is not UTF-8", s)
			}
		}
	})
}
