package bot

import (
	"testing"
)

func BenchmarkIs(b *testing.B) {
	const ua = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/22G86 [FBAN/FBIOS;FBAV/530.0]"
	for b.Loop() {
		if Is(ua) {
			b.Fatal("taken for a program")
		}
	}
}

func TestIs(t *testing.T) {
	for ua, want := range map[string]bool{
		"": true, "curl/8": true, "x Silktide": true, "Datadog Agent/7.69.2": true,
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                         false,
		"Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) Version/4.0 Chrome/142.0.7444.142 Mobile Safari/537.36":      false,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) coc_coc_browser/120.0.0 Chrome/114.0.0.0 Safari/537.36":                               false,
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15 Ddg/18.6": false,
	} {
		if got := Is(ua); got != want {
			t.Errorf("%q is %v", ua, got)
		}
	}
}
