package tracker

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"dachs/storage"
)

// hinted returns the hints in headers: brands, mobile, platform, platform version.
func hinted(headers ...string) Hints {
	var h fasthttp.RequestHeader
	for i, name := range []string{"Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform", "Sec-CH-UA-Platform-Version"} {
		if i < len(headers) && headers[i] != "" {
			h.Set(name, headers[i])
		}
	}
	return readHints(&h)
}

const chromeBrands = `"Chromium";v="141", "Google Chrome";v="141", "Not?A_Brand";v="8"`

func TestHints(t *testing.T) {
	const (
		chromePhone  = chromeAndroid + "Chrome/141.0.0.0 Mobile Safari/537.36"
		chromeLinux  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
		chromeMac    = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
		chromeTablet = chromeAndroid + "Chrome/141.0.0.0 Safari/537.36"
	)
	windows := device{"Chrome", "141", "Windows", "10", "Desktop"}
	for _, c := range []struct {
		ua      string
		headers []string
		want    device
	}{
		{chromeWindows, nil, windows},
		{chromeWindows, []string{chromeBrands, "?0", `"Windows"`}, windows},
		{chromeWindows, []string{"", "?1", `"Android"`}, windows}, // nobody sends that
		{chromeWindows, []string{chromeBrands, "?0", `"Windows"`, `"15.0.0"`}, device{"Chrome", "141", "Windows", "11", "Desktop"}},
		{chromeWindows, []string{chromeBrands, "?0", `"Windows"`, `"10.0.0"`}, windows},
		{chromeWindows, []string{chromeBrands, "?0", `"Windows"`, `"0.3.0"`}, windows},
		{chromeWindows, []string{chromeBrands, "?0", `"Windows"`, `""`}, windows},
		// Brands that the user agent hides, in any order, with what is made up in any place.
		{chromeWindows, []string{`"Chromium";v="141", "Brave";v="141", "Not?A_Brand";v="8"`, "?0", `"Windows"`}, device{"Brave", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`" Not;A Brand";v="99", "Brave";v="140", "Chromium";v="140"`}, device{"Brave", "140", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"(Not(A:Brand";v="8", "Chromium";v="141", "Vivaldi";v="7"`}, device{"Vivaldi", "7", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Not\"A;Brand";v="99", "Microsoft Edge";v="141", "Chromium";v="141"`}, device{"Edge", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Chromium";v="141", "Opera GX";v="121"`}, device{"Opera", "121", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Chromium";v="141", "Not?A_Brand";v="8"`}, device{"Chromium", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Not?A_Brand";v="8"`}, windows},
		{chromeWindows, []string{`"Some Browser";v="3"`}, windows},
		{chromeWindows, []string{`"Brave"`}, device{"Brave", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Brave";v="99999999999999999999"`}, device{"Brave", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Brave";v="12345"`}, device{"Brave", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`"Brave";v="<b>"`}, device{"Brave", "141", "Windows", "10", "Desktop"}},
		{chromeWindows, []string{`garbage`, `?1x`, `Windows`}, windows},
		{chromeWindows, []string{`"`, `?0`, `"`, `"\`}, windows},
		{chromeWindows, []string{strings.Repeat(`"x";v="1", `, maxBrands) + `"Brave";v="141"`}, windows},
		// What the user agent says by itself is more than the engine's brand.
		{chromeWindows + " OPR/121.0.0.0", []string{chromeBrands}, device{"Opera", "121", "Windows", "10", "Desktop"}},
		{chromeAndroid + "Chrome/141.0.0.0 Mobile Safari/537.36 Instagram 400.0", []string{`"Android WebView";v="141", "Chromium";v="141"`, "?1", `"Android"`}, device{"Instagram", "400", "Android", "10", "Mobile"}},
		// Systems.
		{chromeMac, []string{chromeBrands, "?0", `"macOS"`, `"15.3.1"`}, device{"Chrome", "141", "macOS", "15", "Desktop"}},
		{chromeMac, []string{chromeBrands, "?0", `"macOS"`, `"10.14.6"`}, device{"Chrome", "141", "macOS", "10.15", "Desktop"}},
		{chromePhone, []string{chromeBrands, "?1", `"Android"`}, device{"Chrome", "141", "Android", "10", "Mobile"}},
		{chromePhone, []string{chromeBrands, "?1", `"Android"`, `"16.0.0"`}, device{"Chrome", "141", "Android", "16", "Mobile"}},
		{chromeTablet, []string{chromeBrands, "?0", `"Android"`}, device{"Chrome", "141", "Android", "10", "Tablet"}},
		{chromeLinux, []string{chromeBrands, "?0", `"Linux"`}, device{"Chrome", "141", "GNU/Linux", "", "Desktop"}},
		// A tablet that asks for the pages of desktops, and a phone that does.
		{chromeLinux, []string{chromeBrands, "?0", `"Android"`, `"15.0.0"`}, device{"Chrome", "141", "Android", "15", "Tablet"}},
		{chromeLinux, []string{chromeBrands, "?1", `"Android"`}, device{"Chrome", "141", "Android", "", "Mobile"}},
		{chromeLinux, []string{chromeBrands, "?0", `"Chrome OS"`}, device{"Chrome", "141", "GNU/Linux", "", "Desktop"}},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", []string{chromeBrands, "?0", `"Chrome OS"`, `"16181.61.0"`}, device{"Chrome", "141", "ChromeOS", "", "Desktop"}},
		{"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", []string{chromeBrands, "?0", `"Linux"`}, device{"Chrome", "141", "webOS", "", "TV"}},
		{"Custom/1.0", []string{chromeBrands, "?0", `"Windows"`}, device{"Chrome", "141", "Windows", "", "Desktop"}},
		{"Custom/1.0", []string{chromeBrands, "?1", `"Android"`}, device{"Chrome", "141", "Android", "", "Mobile"}},
		{"Custom/1.0", []string{chromeBrands, "?0", `"Fuchsia"`}, device{"Chrome", "141", "", "", ""}},
	} {
		hints := hinted(c.headers...)
		if got := hints.refine(parseUserAgent(c.ua)); got != c.want {
			t.Errorf("%q with %q is %+v, want %+v", c.ua, c.headers, got, c.want)
		}
	}
}

func TestHeadlessBrowserIsABot(t *testing.T) {
	e := newEnricher(t)
	c := germanChrome()
	c.Hints = hinted(`"HeadlessChrome";v="141", "Not?A_Brand";v="8", "Chromium";v="141"`)
	if _, reason, _ := e.Enrich(&Payload{Name: "pageview", URL: "https://example.com/"}, &c, &storage.Site{}); reason != Bot {
		t.Errorf("a browser without a window is %v", reason)
	}
}

func TestHintsAllocateNothing(t *testing.T) {
	var h fasthttp.RequestHeader
	h.Set("Sec-CH-UA", chromeBrands)
	h.Set("Sec-CH-UA-Mobile", "?0")
	h.Set("Sec-CH-UA-Platform", `"Windows"`)
	d := parseUserAgent(chromeWindows)
	if n := testing.AllocsPerRun(100, func() { hints := readHints(&h); hints.refine(d) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHintsCount(t *testing.T) {
	c := newCounting(t)
	c.hit(`{"n":"pageview","u":"https://example.com/"}`, "User-Agent: "+chromeWindows, "Sec-CH-UA: "+`"Chromium";v="141", "Brave";v="141"`,
		"Sec-CH-UA-Mobile: ?0", `Sec-CH-UA-Platform: "Windows"`, `Sec-CH-UA-Platform-Version: "15.0.0"`)
	if got := c.counts(storage.Browser, storage.BrowserVersion); got["Brave 141"][0] != 1 {
		t.Errorf("browsers are %v", got)
	}
	if got := c.counts(storage.OS, storage.OSVersion); got["Windows 11"][0] != 1 {
		t.Errorf("systems are %v", got)
	}
}

func FuzzHints(f *testing.F) {
	f.Add(chromeBrands, "?1", `"Android"`, `"15"`, chromeWindows)
	f.Add(`"\"";v="\`, "?0", `"`, `"99999"`, "")
	f.Fuzz(func(t *testing.T, brands, mobile, platform, version, ua string) {
		hints := hinted(brands, mobile, platform, version)
		d := hints.refine(parseUserAgent(ua))
		plain := parseUserAgent(ua)
		if d.browser != plain.browser && brandName([]byte(hintedBrand(d.browser))) != d.browser {
			t.Errorf("browser %q", d.browser)
		}
		if len(d.browserVersion) > 4 || len(d.osVersion) > 5 || len(d.class) > 7 {
			t.Errorf("%+v", d)
		}
	})
}

// hintedBrand returns the brand of a browser's name.
func hintedBrand(name string) string {
	switch name {
	case "Chrome":
		return "Google Chrome"
	case "Edge":
		return "Microsoft Edge"
	case "Yandex Browser":
		return "Yandex"
	}
	return name
}
