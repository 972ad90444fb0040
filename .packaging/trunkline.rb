# A Homebrew formula: it builds from the sources of the tag, with brew's own Rust.
class Trunkline < Formula
  desc "One daemon per user that owns every MCP connection, shared by any number of agents"
  url "@RELEASES@/v@VERSION@/trunkline-@VERSION@-source.tar.gz"
  sha256 "@SOURCE_SHA256@"
  version "@VERSION@"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args
    system bin/"trunkline", "man-pages", buildpath/"man"
    man1.install Dir["man/*.1"]
    generate_completions_from_executable(bin/"trunkline", "completions", shells: [:bash, :zsh, :fish])
  end

  service do
    run [opt_bin/"trunkline", "run"]
    keep_alive crashed: true
    process_type :interactive
  end

  test do
    assert_match "shared", shell_output("#{bin}/trunkline demo")
  end
end
