package tracker

import (
	"os"
	"strings"
	"testing"

	"dachs/tracker/bot"
)

const (
	chromeWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	webKitPhone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
	webKitMac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
	chromeAndroid = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
)

func TestParseUserAgent(t *testing.T) {
	for ua, want := range map[string]device{
		chromeWindows:                          {"Chrome", "141", "Windows", "10", "Desktop"},
		chromeWindows + " Edg/141.0.3537.57":   {"Edge", "141", "Windows", "10", "Desktop"},
		chromeWindows + " OPR/121.0.0.0":       {"Opera", "121", "Windows", "10", "Desktop"},
		chromeWindows + " Vivaldi/7.6.3797.52": {"Vivaldi", "7", "Windows", "10", "Desktop"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 YaBrowser/25.8.0.0 Safari/537.36":              {"Yandex Browser", "25", "Windows", "10", "Desktop"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0":                                                                {"Firefox", "143", "Windows", "10", "Desktop"},
		"Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko":                                                                                   {"Internet Explorer", "11", "Windows", "7", "Desktop"},
		"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0)":                                                                                              {"Internet Explorer", "8", "Windows", "Vista", "Desktop"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0 Safari/537.36 Edge/44.18363":        {"Edge", "44", "Windows", "10", "Console"},
		webKitMac + "Version/18.6 Safari/605.1.15":                                                                                                        {"Safari", "18", "macOS", "10.15", "Desktop"},
		webKitMac + "Version/18.6 Safari/605.1.15 Ddg/18.6":                                                                                               {"DuckDuckGo", "18", "macOS", "10.15", "Desktop"},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.9; rv:28.0) Gecko/20100101 Firefox/28.0":                                                               {"Firefox", "28", "macOS", "10.9", "Desktop"},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 11_2_3) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/89.0.4389.90 Safari/537.36":                         {"Chrome", "89", "macOS", "11", "Desktop"},
		webKitPhone + "Version/18.6 Mobile/15E148 Safari/604.1":                                                                                           {"Safari", "18", "iOS", "18", "Mobile"},
		webKitPhone + "CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1":                                                                                    {"Chrome", "141", "iOS", "18", "Mobile"},
		webKitPhone + "FxiOS/143.0 Mobile/15E148 Safari/605.1.15":                                                                                         {"Firefox", "143", "iOS", "18", "Mobile"},
		webKitPhone + "EdgiOS/141.0.3537.60 Version/18.0 Mobile/15E148 Safari/604.1":                                                                      {"Edge", "141", "iOS", "18", "Mobile"},
		webKitPhone + "GSA/380.0 Mobile/15E148 Safari/604.1":                                                                                              {"Google App", "380", "iOS", "18", "Mobile"},
		webKitPhone + "Mobile/15E148 Instagram 400.0.0.0 (iPhone15,2)":                                                                                    {"Instagram", "400", "iOS", "18", "Mobile"},
		webKitPhone + "Mobile/22G86 [FBAN/FBIOS;FBAV/530.0]":                                                                                              {"Facebook", "530", "iOS", "18", "Mobile"},
		webKitPhone + "Mobile/15E148":                                                                                                                     {"Safari", "", "iOS", "18", "Mobile"},
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":                  {"Safari", "17", "iOS", "17", "Tablet"},
		chromeAndroid + "Chrome/141.0.0.0 Mobile Safari/537.36":                                                                                           {"Chrome", "141", "Android", "10", "Mobile"},
		chromeAndroid + "Chrome/141.0.0.0 Safari/537.36":                                                                                                  {"Chrome", "141", "Android", "10", "Tablet"},
		chromeAndroid + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":                                                                       {"Samsung Internet", "28", "Android", "10", "Mobile"},
		"Mozilla/5.0 (Android 14; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0":                                                                            {"Firefox", "143", "Android", "14", "Mobile"},
		"Mozilla/5.0 (Android 14; Tablet; rv:143.0) Gecko/143.0 Firefox/143.0":                                                                            {"Firefox", "143", "Android", "14", "Tablet"},
		"Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/120.1.1 like Chrome/120.0 Safari/537.36":                      {"Amazon Silk", "120", "Android", "9", "Tablet"},
		"Mozilla/5.0 (Linux; U; Android 2.3.6; de-de; GT-S5830i Build/GINGERBREAD) AppleWebKit/533.1 (KHTML, like Gecko) Version/4.0 Mobile Safari/533.1": {"Android Browser", "4", "Android", "2", "Mobile"},
		"Opera/9.80 (Android; Opera Mini/36.2/119.132; U; id) Presto/2.12.423 Version/12.16":                                                              {"Opera Mini", "36", "Android", "", "Mobile"},
		"Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/34.1244; U; en) Presto/2.8.119 Version/11.10":                                                        {"Opera Mini", "7", "", "", "Mobile"},
		"Opera/9.80 (X11; Linux i686) Presto/2.12.388 Version/12.16":                                                                                      {"Opera", "12", "GNU/Linux", "", "Desktop"},
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0":                                                                          {"Firefox", "128", "GNU/Linux", "", "Desktop"},
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36":                                  {"Chrome", "141", "ChromeOS", "", "Desktop"},
		"Mozilla/5.0 (X11; FreeBSD amd64; rv:128.0) Gecko/20100101 Firefox/128.0":                                                                         {"Firefox", "128", "FreeBSD", "", "Desktop"},
		"Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/4.0 Chrome/94.0 TV Safari/537.36":                 {"Samsung Internet", "4", "Tizen", "7", "TV"},
		"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36":                                        {"Chrome", "120", "webOS", "", "TV"},
		"Mozilla/5.0 (Mobile; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5":                                                                                 {"Firefox", "48", "KaiOS", "2", "Mobile"},
		"Lynx/2.8.9rel.1 libwww-FM/2.14":                                                                                                                  {},
		"Firefox/99999999999":                                                                                                                             {browser: "Firefox"},
		"(":                                                                                                                                               {},
		"":                                                                                                                                                {},
	} {
		if got := parseUserAgent(ua); got != want {
			t.Errorf("%s\n is %+v\nwant %+v", ua, got, want)
		}
	}
}

func TestIsBot(t *testing.T) {
	for _, person := range []string{
		chromeWindows,
		chromeWindows + " Edg/141.0.3537.57",
		chromeWindows + " OPR/121.0.0.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
		webKitMac + "Version/18.6 Safari/605.1.15",
		webKitPhone + "Version/18.6 Mobile/15E148 Safari/604.1",
		webKitPhone + "Mobile/22G86 [FBAN/FBIOS;FBAV/530.0]",
		chromeAndroid + "Chrome/141.0.0.0 Mobile Safari/537.36",
		chromeAndroid + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
		"Opera/9.80 (X11; Linux i686) Presto/2.12.388 Version/12.16",
		"Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; WOW64; Trident/5.0)",
		"Lynx/2.8.9rel.1 libwww-FM/2.14",
		"Mozilla/5.0 (Linux; Android 11; ScanPal EDA51) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
	} {
		if IsBot(person) {
			t.Errorf("%s is taken for a program", person)
		}
	}
	for _, program := range []string{
		"", "-", "Mozilla/5.0", "curl/8.5.0", "Wget/1.21.4", "python-requests/2.32.3", "Go-http-client/1.1", "Go-http-client/2.0", "okhttp/4.12.0",
		"axios/1.7.7 (node)", "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "Apache-HttpClient/4.5.14 (Java/17.0.2)", "PostmanRuntime/7.43.0",
		"Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UP1A)", "WhatsApp/2.24.20 A", "facebookexternalhit/1.1",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
		chromeWindows + " PTST/240101", chromeWindows + " Chrome-Lighthouse",
		"Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
		"Tiny Tiny RSS/23.05 (https://tt-rss.org/)", "UptimeRobot/2.0", "Mozilla/5.0 (compatible; Yahoo! Slurp)",
		"Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)", "Mozilla/4.0 (compatible;)", "Safari/9537.73.11 CFNetwork/673.0.3 Darwin/13.0.0 (x86_64)",
	} {
		if !IsBot(program) {
			t.Errorf("%s is taken for a person", program)
		}
	}
}

func TestIsAhead(t *testing.T) {
	for purpose, want := range map[string]bool{
		"": false, "navigate": false, "prefetch": true, "prefetch;prerender": true, "prefetch;anonymous-client-ip": true, "Preview": true,
	} {
		if got := isAhead(purpose); got != want {
			t.Errorf("isAhead(%q) is %v", purpose, got)
		}
	}
}

// The short way must only ever say what the long one would have said.
func TestCommonBrowserIsNoBot(t *testing.T) {
	common := []string{
		chromeWindows, chromeWindows + " Edg/141.0.3537.57", webKitMac + "Version/18.6 Safari/605.1.15",
		webKitPhone + "Version/18.6 Mobile/15E148 Safari/604.1", webKitPhone + "CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1",
		chromeAndroid + "Chrome/141.0.0.0 Mobile Safari/537.36", chromeAndroid + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
		"Mozilla/5.0 (Android 14; Mobile; rv:143.0) Gecko/143.0 Firefox/143.0",
	}
	for _, ua := range common {
		if !isCommonBrowser(ua) {
			t.Errorf("%s goes the long way", ua)
		}
		// Words in another place, or one more, must not let a program through.
		for _, program := range []string{"bot", "Googlebot", "HeadlessChrome/1", "curl/8", "(compatible; x)", "+http://x.example", "PTST/1", "x@y.example"} {
			if with := ua + " " + program; isCommonBrowser(with) {
				t.Errorf("%s goes the short way", with)
			}
		}
	}
	for _, ua := range []string{"", "Mozilla/5.0", "Mozilla/5.0 (", "Mozilla/5.0 ()", "Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/4.0 (Windows NT 5.1) Firefox/1"} {
		if isCommonBrowser(ua) {
			t.Errorf("%q is taken for a browser", ua)
		}
	}
}

// TestTopBrowsersArePeople goes through the user agents that most people had when the file was made: none is a program, and
// nearly all take the short way.
func TestTopBrowsersArePeople(t *testing.T) {
	text, err := os.ReadFile("testdata/top-user-agents.txt")
	if err != nil {
		t.Fatal(err)
	}
	agents, common := 0, 0
	for ua := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(ua, "#") {
			continue
		}
		if bot.Is(ua) {
			t.Errorf("%s is taken for a program", ua)
		}
		if agents++; isCommonBrowser(ua) {
			common++
		}
	}
	t.Logf("%d of %d take the short way", common, agents)
	if agents < 50 || common*100 < agents*80 {
		t.Errorf("only %d of %d take the short way", common, agents)
	}
}
